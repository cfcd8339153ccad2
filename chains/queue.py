"""The Celery queue of chains that wait for a worker."""

from uuid import UUID

from celery import current_app
from kombu.exceptions import OperationalError

from lunaos.infra import redis

QUEUE_NAME = "chains"
TASK_NAME = "chains.tasks.execute_chain"
UNREACHABLE = (OperationalError, redis.RedisError, OSError)


def enqueue(run_id: UUID) -> None:
    """Send a chain to the workers; raises any of UNREACHABLE."""
    current_app.send_task(TASK_NAME, [str(run_id)])


def length() -> int:
    """Return the number of messages that no worker has taken yet."""
    return redis.client().llen(QUEUE_NAME)
