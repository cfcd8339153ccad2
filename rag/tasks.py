"""Celery tasks of code search."""

from celery import shared_task
from celery.signals import worker_shutting_down

from rag import stopping
from rag.indexing import recovery, runner


@shared_task(name="rag.tasks.index")
def index(repository_id: int) -> None:
    """Run a repository's index jobs."""
    runner.run(repository_id)


@shared_task(name="rag.tasks.recover_jobs")
def recover_jobs() -> None:
    """Enqueue repositories with unfinished jobs again."""
    recovery.requeue_unfinished()


@worker_shutting_down.connect
def hand_jobs_back(**_: object) -> None:
    """Have the jobs of a stopping worker go back to the queue, for which its exit would wait."""
    stopping.request()
