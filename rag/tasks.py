"""Jobs about code search."""

from celery import shared_task

from rag.indexing import recovery, runner


@shared_task(name="rag.tasks.index")
def index(repository_id: int) -> None:
    runner.run(repository_id)


@shared_task(name="rag.tasks.recover_jobs")
def recover_jobs() -> None:
    recovery.requeue_unfinished()
