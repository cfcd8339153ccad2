"""Chains that wait for a worker: a Celery queue of their own."""

from uuid import UUID

from celery import current_app
from kombu.exceptions import OperationalError

from lunaos.infra import redis

QUEUE_NAME = "chains"
TASK_NAME = "chains.tasks.execute_chain"
UNREACHABLE = (OperationalError, redis.RedisError, OSError)


def enqueue(run_id: UUID) -> None:
    """Hand a chain to the workers.

    Raises:
        OperationalError, RedisError, OSError: any of DOWN; the queue cannot be reached.
    """
    current_app.send_task(TASK_NAME, [str(run_id)])


def length() -> int:
    """Messages that no worker has taken yet.

    Raises:
        RedisError: the queue cannot be reached.
    """
    return redis.client().llen(QUEUE_NAME)
