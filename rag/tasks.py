"""Jobs about code search."""

from celery import shared_task

from rag import runner, services


@shared_task
def index(repository_id: int) -> None:
    runner.run(repository_id)


@shared_task
def recover_jobs() -> None:
    services.recover()
