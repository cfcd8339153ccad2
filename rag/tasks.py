"""Celery tasks of code search."""

from celery import shared_task

from rag.indexing import recovery, runner


@shared_task
def index(repository_id: int) -> None:
    """Run a repository's index jobs."""
    runner.run(repository_id)


@shared_task
def recover_jobs() -> None:
    """Enqueue repositories with unfinished jobs again."""
    recovery.requeue_unfinished()
