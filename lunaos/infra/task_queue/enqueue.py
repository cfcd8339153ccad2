"""Put a task into the Celery queue, in step with the database transaction."""

import logging
from functools import partial
from typing import Any

from celery import Task
from django.db import transaction
from kombu.exceptions import OperationalError

logger = logging.getLogger(__name__)


def on_commit(task: Task, *args: Any) -> None:
    """Enqueue a task when the current transaction commits; at once outside one."""
    transaction.on_commit(partial(now, task, *args))


def now(task: Task, *args: Any) -> None:
    """Enqueue a task at once, even if the current transaction is rolled back later."""
    try:
        task.apply_async(args, retry=False)
    # A queue that is down loses the task, and never fails the request.
    except OperationalError:
        logger.warning("%s was not queued", task.name, exc_info=True)
