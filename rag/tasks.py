"""Jobs about code search."""

from celery import shared_task
from celery.signals import worker_shutting_down

from rag import runner, services, stopping


@shared_task
def index(repository_id: int) -> None:
    runner.run(repository_id)


@shared_task
def recover_jobs() -> None:
    services.recover()


@worker_shutting_down.connect
def hand_jobs_back(**_: object) -> None:
    """A worker that stops waits for its threads, and they for their jobs."""
    stopping.ask()
