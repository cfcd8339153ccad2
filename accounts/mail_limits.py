"""Limits on mails that a client can cause to an address without being signed in as its owner."""

# All kinds of such mails share one limit per hour. Security notices and billing mails do not count, because they must
# arrive. An unconfirmed address may belong to a stranger, so security notices to it have a limit of their own, which
# other mails cannot use up. If Valkey is down, full or read-only, each process counts for itself.

import hashlib
import logging

from lunaos.infra import redis
from lunaos.infra.local_counter import LocalCounter

MAX_MAILS_PER_HOUR = 5  # of all kinds together
MAX_MAILS_OF_KIND_PER_HOUR = 3
HOUR_S = 3600
logger = logging.getLogger(__name__)
_local_counter = LocalCounter()


def allow(kind: str, email: str, *, limit: int = MAX_MAILS_OF_KIND_PER_HOUR) -> bool:
    """Count a mail against the hourly limits of its kind and of all kinds."""
    # A mail that exceeds the limit of its kind does not count among all kinds.
    address = hashlib.sha256(email.lower().encode()).hexdigest()
    try:
        return (
            _count(f"lunaos:mails:{kind}:{address}") <= limit
            and _count(f"lunaos:mails:all:{address}") <= MAX_MAILS_PER_HOUR
        )
    except redis.RedisError:
        logger.warning("Mails are counted by this process alone, the cache is down", exc_info=True)
        return (
            _local_counter.hit(f"{kind}:{address}", HOUR_S)[0] <= limit
            and _local_counter.hit(address, HOUR_S)[0] <= MAX_MAILS_PER_HOUR
        )


def allow_notice(email: str, *, confirmed: bool) -> bool:
    """Count a security notice; all notices to a confirmed address are allowed."""
    address = hashlib.sha256(email.lower().encode()).hexdigest()
    try:
        counted = _count(f"lunaos:mails:notices:{address}")
    except redis.RedisError:
        logger.warning("Mails are counted by this process alone, the cache is down", exc_info=True)
        counted, _ = _local_counter.hit(f"notices:{address}", HOUR_S)
    return confirmed or counted <= MAX_MAILS_PER_HOUR


def _count(key: str) -> int:
    with redis.client().pipeline() as pipeline:
        pipeline.incr(key)
        pipeline.expire(key, HOUR_S, nx=True)
        return int(pipeline.execute()[0])
