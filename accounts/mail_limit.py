"""How many mails of a kind may be had sent to one address, by whoever asks: few enough to be no nuisance."""

import hashlib
import logging

from lunaos import redis
from lunaos.local_counter import LocalCounter

AN_HOUR = 3
HOUR_S = 3600
logger = logging.getLogger(__name__)
_here = LocalCounter()


def take(kind: str, email: str) -> bool:
    """Count a mail.

    Args:
        kind: each has a limit of its own.

    Returns:
        Whether it may be sent; where Valkey is down, full or read-only each process counts by itself.
    """
    key = f"lunaos:mails:{kind}:{hashlib.sha256(email.encode()).hexdigest()}"
    try:
        with redis.client().pipeline() as pipeline:
            pipeline.incr(key)
            pipeline.expire(key, HOUR_S, nx=True)
            return bool(pipeline.execute()[0] <= AN_HOUR)
    except redis.RedisError:
        logger.warning("Mails are counted by this process alone, the cache is down", exc_info=True)
        return _here.hit(key, HOUR_S)[0] <= AN_HOUR
