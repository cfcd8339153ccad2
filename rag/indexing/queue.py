"""The Celery queue of repositories with jobs."""

from celery import current_app
from kombu.exceptions import OperationalError

from lunaos.infra import redis

QUEUE_NAME = "indexing"
TASK_NAME = "rag.tasks.index"
CONNECTION_ERRORS = (OperationalError, redis.RedisError, OSError)


def enqueue(repository_id: int) -> None:
    """Have a worker run a repository's jobs.

    Raises:
        OperationalError, RedisError, OSError: the queue cannot be reached; see CONNECTION_ERRORS.
    """
    current_app.send_task(TASK_NAME, [repository_id])


def length() -> int:
    """Return the number of messages that no worker has taken yet, or raise RedisError."""
    return redis.client().llen(QUEUE_NAME)
