"""What operators must hear of: a line in the log at once, a mail at most every ten minutes a kind."""

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
    """Tell the operators; never fails whoever calls it, and is not taken back with the transaction under way.

    Args:
        kind: snake_case; mails of one kind are damped together.
        message: a sentence for the operators.
        facts: what helps them, without secrets; logged.
    """
    logger.critical(message, alarm=kind, **facts)
    if settings.ALARM_EMAILS and _is_first(f"alarm:{kind}", MAIL_INTERVAL_S):
        _mail(kind, message)


def send_daily(kind: str, subject: str, message: str, **facts: Any) -> None:
    """Tell the operators of one subject at most once a day, in the log and by mail; never fails.

    Args:
        subject: what the alarm is about, as a model's name.
        kind, message, facts: as of `sound`.
    """
    if _is_first(f"alarm:{kind}:{subject}", DAY_S):
        logger.critical(message, alarm=kind, **facts)
        if settings.ALARM_EMAILS:
            _mail(kind, message)


def _is_first(key: str, within_s: int) -> bool:
    """Return whether a key is new; True where Valkey is down, so that alarms are rather repeated than lost."""
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
