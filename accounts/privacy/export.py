"""One export at a time for each user: an export reads all that there is, for as long as its client takes."""

import logging
import secrets
from contextlib import suppress
from uuid import UUID

from django.conf import settings

from accounts.errors import ExportUnderWay
from lunaos.infra import redis

SLACK_S = 30
ACCOUNT, LISTS = "lunaos:export:", "lunaos:list-export:"  # prefixes of the keys in Valkey
logger = logging.getLogger(__name__)


class Place:
    """A user's one place, in all processes; it comes free by itself where its holder has died.

    Args:
        kind: which exports share the place: those of the account, or of the admin's lists.
    """

    def __init__(self, user_id: UUID, kind: str = ACCOUNT) -> None:
        self._key, self._mine = f"{kind}{user_id}", secrets.token_hex(8)

    def take(self) -> None:
        """Take the place.

        Raises:
            ExportUnderWay: it is taken.
        """
        try:
            taken = redis.client().set(self._key, self._mine, nx=True, ex=_held_s())
        except redis.RedisError:
            logger.warning("Exports are not counted, the cache is down", exc_info=True)
            return
        if not taken:
            raise ExportUnderWay(retry_after=_held_s())

    def renew(self) -> None:
        """Keep the place for as long as a client may read nothing, and a little longer."""
        with suppress(redis.RedisError):
            redis.client().expire(self._key, _held_s())

    def release(self) -> None:
        """Give the place back, unless it has become another one's."""
        with suppress(redis.RedisError):
            if redis.client().get(self._key) == self._mine.encode():
                redis.client().delete(self._key)


def _held_s() -> int:
    return int(settings.STREAM_STALL_S) + SLACK_S
