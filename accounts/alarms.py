"""What operators must hear of: a line in the log at once, a mail at most every ten minutes a kind."""

from typing import Any

import structlog
from django.conf import settings
from django.core.cache import cache

from accounts import outbox, tasks
from lunaos.redis import RedisError

logger = structlog.get_logger("lunaos.alarm")
QUIET_S = 600


def sound(kind: str, message: str, **facts: Any) -> None:
    """Tell the operators; never fails whoever calls it, and is not taken back with the transaction under way.

    Args:
        kind: snake_case; mails of one kind are damped together.
        message: a sentence for the operators.
        facts: what helps them, without secrets; logged.
    """
    logger.critical(message, alarm=kind, **facts)
    try:
        if settings.ALARM_EMAILS and cache.add(f"alarm:{kind}", 1, QUIET_S):
            outbox.send(tasks.send_alarm, kind, message)
    except (RedisError, OSError):
        logger.warning("The alarm was not mailed", alarm=kind, exc_info=True)
