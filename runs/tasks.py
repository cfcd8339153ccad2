"""Jobs that keep the runs in order."""

from celery import shared_task

from runs import partitions, services


@shared_task
def end_abandoned_runs() -> None:
    services.end_abandoned()


@shared_task
def prepare_partitions() -> None:
    partitions.ensure()
