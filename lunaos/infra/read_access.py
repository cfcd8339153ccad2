"""The right to go on reading: a credential that ends closes the streams and sockets that it has opened.

Every process listens on one channel. A notice names a user; the process then asks the database once for each credential
that this user's readers came with. A lost connection counts as a notice about all users.
"""

import asyncio
import logging
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, TypeVar
from uuid import UUID
from weakref import WeakKeyDictionary

from django.db import transaction

from lunaos.errors import LunaError
from lunaos.infra import database, event_loop, pubsub, redis

CHANNEL = "lunaos:access"
ALL_USERS = "*"
MAX_NOTICES = 10_000  # users remembered for readers that are about to open
RETRY_S = 1.0
Read = TypeVar("Read", covariant=True)
logger = logging.getLogger(__name__)


class Reader(Protocol[Read]):
    async def read(self, within_s: float) -> Read:
        """Return what comes within the time."""


@dataclass(frozen=True, slots=True)
class Access:
    """A credential that a request came with.

    Args:
        user_id: whose it is.
        credential: tells the user's credentials apart; no secret is needed.
        check: asks the database; raises the LunaError of a credential that has ended.
        expires_at: when it ends by itself, in Unix seconds.
        checked_at: when the request's own check began, on the `time.monotonic` clock.
    """

    user_id: UUID
    credential: str
    check: Callable[[], object] = field(compare=False)
    checked_at: float = field(compare=False)
    expires_at: float | None = field(default=None, compare=False)


def changed(user_id: UUID | None) -> None:
    """On commit have all processes check the readers of a user; of all users where it is None."""
    transaction.on_commit(partial(_publish, str(user_id or ALL_USERS)))


def _publish(message: str) -> None:
    with suppress(redis.RedisError, OSError):  # who listens loses the connection too, and checks all readers then
        redis.client().publish(CHANNEL, message)


class Guard:
    """Reads for as long as an access lasts; used on the event loop only.

    Args:
        on_refusal: called once, when it has ended.
    """

    def __init__(self, access: Access, on_refusal: Callable[[], None] = lambda: None) -> None:
        self.access, self._on_refusal = access, on_refusal
        self._refusal: LunaError | None = None
        self._reading: asyncio.Timeout | None = None
        self._timer: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Begin to watch."""
        watch = _watch()
        watch.add(self)
        if self.access.expires_at:
            left_s = max(0.0, self.access.expires_at - time.time())
            self._timer = asyncio.get_running_loop().call_later(left_s, watch.check, [self])

    def close(self) -> None:
        """Stop watching."""
        _watch().discard(self)
        if self._timer:
            self._timer.cancel()

    async def read(self, reader: Reader[Read], within_s: float) -> Read:
        """Read on, or break off as soon as the access has ended.

        Raises:
            LunaError: why it has ended; and what the reader raises.
        """
        if self._refusal:
            raise self._refusal
        try:
            async with asyncio.timeout(None) as self._reading:
                return await reader.read(within_s)
        except TimeoutError:
            raise self._refusal or TimeoutError() from None
        finally:
            self._reading = None

    def refuse(self, refusal: LunaError) -> None:
        """Break off a reading that waits, and refuse those to come."""
        if self._refusal is None:
            self._refusal = refusal
            self._on_refusal()
            if self._reading:
                self._reading.reschedule(0.0)


class Watch:
    """The guards of a loop, by user."""

    def __init__(self) -> None:
        self._guards: defaultdict[str, set[Guard]] = defaultdict(set)
        self._noticed_at: dict[str, float] = {}
        self._missed_until = time.monotonic()
        self._checks: set[asyncio.Task[None]] = set()
        pubsub.listen(CHANNEL, self._on_notice)

    def add(self, guard: Guard) -> None:
        """Watch over a guard; it is checked at once where a notice came after the request's own check."""
        user = str(guard.access.user_id)
        self._guards[user].add(guard)
        if guard.access.checked_at <= max(self._missed_until, self._noticed_at.get(user, -math.inf)):
            self.check([guard])

    def discard(self, guard: Guard) -> None:
        """Stop watching over a guard."""
        user = str(guard.access.user_id)
        self._guards[user].discard(guard)
        if not self._guards[user]:
            del self._guards[user]

    def check(self, guards: Iterable[Guard]) -> None:
        """Ask the database about guards, each credential once."""
        by_access: defaultdict[Access, list[Guard]] = defaultdict(list)
        for guard in guards:
            by_access[guard.access].append(guard)
        if by_access:
            task = event_loop.keep_running(_check_all(by_access))
            self._checks.add(task)
            task.add_done_callback(self._checks.discard)

    def _on_notice(self, message: bytes) -> None:
        user = message.decode()
        if user in ("", ALL_USERS) or len(self._noticed_at) >= MAX_NOTICES:
            self._missed_until = time.monotonic()
            self._noticed_at.clear()
            self.check([guard for guards in self._guards.values() for guard in guards])
        else:
            self._noticed_at[user] = time.monotonic()
            self.check(self._guards.get(user, ()))


async def _check_all(by_access: dict[Access, list[Guard]]) -> None:
    for access, guards in by_access.items():
        if refusal := await _refusal_of(access):
            for guard in guards:
                guard.refuse(refusal)


async def _refusal_of(access: Access) -> LunaError | None:
    """Ask until the database answers: a reader is neither closed nor forgotten because of an outage."""
    while True:
        try:
            await database.call(access.check, patience_s=math.inf)
            return None
        except LunaError as e:
            return e
        except Exception:
            logger.exception("An access could not be checked")
        await asyncio.sleep(RETRY_S)


_watches: WeakKeyDictionary[asyncio.AbstractEventLoop, Watch] = WeakKeyDictionary()


def _watch() -> Watch:
    current = asyncio.get_running_loop()
    if current not in _watches:
        _watches[current] = Watch()
    return _watches[current]
