"""Alerts to the operators: a log line at once, and at most one mail per kind in ten minutes."""

from typing import Any

import structlog
from django.conf import settings
from django.core.cache import cache

from accounts import tasks
from lunaos.infra.redis import RedisError
from lunaos.infra.task_queue import enqueue

logger = structlog.get_logger("lunaos.alarm")
MAIL_INTERVAL_S = 600
DAY_S = 24 * 3600


def send(kind: str, message: str, **facts: Any) -> None:
    """Alert the operators, even if the current transaction is rolled back."""
    # Never raises.
    logger.critical(message, alarm=kind, **facts)
    if settings.ALARM_EMAILS and _is_first(f"alarm:{kind}", MAIL_INTERVAL_S):
        _mail(kind, message)


def send_daily(kind: str, subject: str, message: str, **facts: Any) -> None:
    """Alert the operators at most once a day per subject, in the log and by mail."""
    # Never raises.
    if _is_first(f"alarm:{kind}:{subject}", DAY_S):
        logger.critical(message, alarm=kind, **facts)
        if settings.ALARM_EMAILS:
            _mail(kind, message)


def _is_first(key: str, within_s: int) -> bool:
    try:
        return bool(cache.add(key, 1, within_s))
    except (RedisError, OSError):
        logger.warning("It is unknown whether this alarm was raised before", alarm=key, exc_info=True)
        return True


def _mail(kind: str, message: str) -> None:
    try:
        enqueue.now(tasks.send_alarm, kind, message)
    except (RedisError, OSError):
        logger.warning("The alarm was not mailed", alarm=kind, exc_info=True)
