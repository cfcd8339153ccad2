"""Tasks on chains."""

from uuid import UUID

from celery import shared_task
from celery.signals import worker_shutting_down
from django.conf import settings

from chains import recovery, runner
from lunaos.infra import event_loop
from runs import executors


@shared_task(name="chains.tasks.execute_chain")
def execute_chain(run_id: str) -> None:
    runner.run(UUID(run_id))


@shared_task(name="chains.tasks.recover_chains")
def recover_chains() -> None:
    recovery.recover()


@worker_shutting_down.connect
def on_shutdown(**_: object) -> None:
    """Let the worker's chains end or be released before the worker stops."""
    # The worker waits for its threads, and they wait for their chains.
    event_loop.submit(executors.shut_down(settings.STOP_GRACE_S))
