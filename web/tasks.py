"""A sign of life: beat sends it, a worker writes it down, `/health` reads it."""

import time

from celery import shared_task
from celery.signals import worker_ready

from lunaos import redis

HEARTBEAT_KEY = "lunaos:worker-heartbeat"


@shared_task
def worker_heartbeat() -> None:
    redis.client().set(HEARTBEAT_KEY, time.time(), ex=300)


@worker_ready.connect
def first_heartbeat(**_: object) -> None:
    """Do not wait for beat: a worker that has just started is there."""
    worker_heartbeat()
