"""Periodic tasks on runs."""

from celery import shared_task
from django.conf import settings

from runs import outcomes, partitions, stats
from runs.metering import spending
from runs.recovery import pending_outcomes


@shared_task(name="runs.tasks.end_abandoned_runs")
def end_abandoned_runs() -> None:
    pending_outcomes.write_all()
    outcomes.end_abandoned(settings.ABANDONED_AFTER_S)


@shared_task(name="runs.tasks.keep_partitions")
def keep_partitions() -> None:
    partitions.ensure()
    partitions.drop_expired()


@shared_task(name="runs.tasks.count_runs")
def count_runs() -> None:
    stats.count_changed_hours()


@shared_task(name="runs.tasks.watch_spending")
def watch_spending() -> None:
    spending.send_alerts()
