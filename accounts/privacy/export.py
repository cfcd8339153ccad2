"""Limit of one export at a time per user."""

# An export reads all data of a user, and runs for as long as its client reads.

import logging
import secrets
from contextlib import suppress
from uuid import UUID

from django.conf import settings

from accounts.errors import ExportUnderWay
from lunaos.infra import redis

GRACE_S = 30
ACCOUNT_EXPORT, LIST_EXPORT = "lunaos:export:", "lunaos:list-export:"  # prefixes of the keys in Valkey
logger = logging.getLogger(__name__)


class ExportSlot:
    """A user's slot for one export of a kind, across all processes."""

    # It expires if its holder dies.

    def __init__(self, user_id: UUID, kind: str = ACCOUNT_EXPORT) -> None:
        self._key, self._holder = f"{kind}{user_id}", secrets.token_hex(8)

    def acquire(self) -> None:
        # Without Valkey, exports are not limited.
        try:
            acquired = redis.client().set(self._key, self._holder, nx=True, ex=_lifetime_s())
        except redis.RedisError:
            logger.warning("Exports are not counted, the cache is down", exc_info=True)
            return
        if not acquired:
            raise ExportUnderWay(retry_after=_lifetime_s())

    def renew(self) -> None:
        """Extend the slot by the time for which a client may stall, plus GRACE_S."""
        with suppress(redis.RedisError):
            redis.client().expire(self._key, _lifetime_s())

    def release(self) -> None:
        # A slot that has expired may already belong to another export.
        with suppress(redis.RedisError):
            if redis.client().get(self._key) == self._holder.encode():
                redis.client().delete(self._key)


def _lifetime_s() -> int:
    return int(settings.STREAM_STALL_S) + GRACE_S
