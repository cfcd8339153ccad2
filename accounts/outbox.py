"""Work for later that belongs to a transaction: into the queue when that has committed, and never in its way."""

import logging
from functools import partial
from typing import Any

from celery import Task
from django.db import transaction
from kombu.exceptions import OperationalError

logger = logging.getLogger(__name__)


def enqueue(task: Task, *args: Any) -> None:
    """Enqueue on commit; a queue that is down costs the task, never the request.

    Args:
        args: of the task, in a form that JSON holds.
    """
    transaction.on_commit(partial(send, task, *args))


def send(task: Task, *args: Any) -> None:
    """The same at once, whatever becomes of the transaction under way."""
    try:
        task.apply_async(args, retry=False)
    except OperationalError:
        logger.warning("%s was not queued", task.name, exc_info=True)
