"""Periodic tasks on refusals."""

from celery import shared_task

from refusals import partitions


@shared_task(name="refusals.tasks.keep_partitions")
def keep_partitions() -> None:
    partitions.ensure()
    partitions.drop_expired()
