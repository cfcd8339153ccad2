"""Close streams and sockets when the credential that opened them ends."""

# Every process subscribes to one channel. A notice names a user; the process then checks in the database each
# credential with which that user's readers came.

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
MAX_READERS_PER_USER = 50  # streams and sockets that follow a run, in one process
MAX_NOTICES = 10_000  # users that are remembered for readers about to open
RETRY_S = 1.0
RETRY_TOO_MANY_S = 5
Read = TypeVar("Read", covariant=True)
logger = logging.getLogger(__name__)


class TooManyReaders(LunaError):
    code, status = "concurrency_limit_reached", 429
    message = f"You have {MAX_READERS_PER_USER} streams and sockets open. Close one, then try again."


class Reader(Protocol[Read]):
    async def read(self, within_s: float) -> Read:
        """Return what arrives within `within_s` seconds."""


@dataclass(frozen=True, slots=True)
class Access:
    user_id: UUID
    # Identifies the credential among the user's; need not be secret.
    credential: str
    # Asks the database; raises the LunaError of a credential that has ended.
    check: Callable[[], object] = field(compare=False)
    # Start of the request's own check, on the `time.monotonic` clock.
    checked_at: float = field(compare=False)
    # Unix time in seconds.
    expires_at: float | None = field(default=None, compare=False)


def publish_change(user_id: UUID | None) -> None:
    """Have all processes check the readers of a user on commit; of all users if None."""
    transaction.on_commit(partial(_publish, str(user_id or ALL_USERS)))


def _publish(message: str) -> None:
    with suppress(redis.RedisError, OSError):  # subscribers lose the connection too, and then check all readers
        redis.client().publish(CHANNEL, message)


class Guard:
    """Reads from a reader until the access ends; for the event loop only."""

    # `is_limited`: count among the user's MAX_READERS_PER_USER; the tier bounds streams of new runs.

    def __init__(
        self, access: Access, on_refusal: Callable[[], None] = lambda: None, *, is_limited: bool = False
    ) -> None:
        self.access, self._on_refusal, self.is_limited = access, on_refusal, is_limited
        self._refusal: LunaError | None = None
        self._reading: asyncio.Timeout | None = None
        self._timer: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Start watching the access; raise TooManyReaders above MAX_READERS_PER_USER."""
        watch = _watch()
        watch.add(self)
        if self.access.expires_at:
            left_s = max(0.0, self.access.expires_at - time.time())
            self._timer = asyncio.get_running_loop().call_later(left_s, watch.check, [self])

    def close(self) -> None:
        _watch().discard(self)
        if self._timer:
            self._timer.cancel()

    async def read(self, reader: Reader[Read], within_s: float) -> Read:
        """Read from a reader, or raise the access's LunaError once the access has ended."""
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
        """Stop a waiting read and refuse later reads."""
        if self._refusal is None:
            self._refusal = refusal
            self._on_refusal()
            if self._reading:
                self._reading.reschedule(0.0)


class Watch:
    def __init__(self) -> None:
        self._guards: defaultdict[str, set[Guard]] = defaultdict(set)
        self._noticed_at: dict[str, float] = {}
        self._missed_until = time.monotonic()
        self._checks: set[asyncio.Task[None]] = set()
        pubsub.subscribe(CHANNEL, self._on_notice)

    def add(self, guard: Guard) -> None:
        user = str(guard.access.user_id)
        if guard.is_limited and sum(each.is_limited for each in self._guards.get(user, ())) >= MAX_READERS_PER_USER:
            raise TooManyReaders(retry_after=RETRY_TOO_MANY_S, limit=MAX_READERS_PER_USER)
        self._guards[user].add(guard)
        # A notice may have come after the request's own check, and before this reader.
        if guard.access.checked_at <= max(self._missed_until, self._noticed_at.get(user, -math.inf)):
            self.check([guard])

    def discard(self, guard: Guard) -> None:
        user = str(guard.access.user_id)
        guards = self._guards.get(user, set())
        guards.discard(guard)
        if not guards:
            self._guards.pop(user, None)

    def check(self, guards: Iterable[Guard]) -> None:
        """Check the credentials of guards in the database, each credential once."""
        by_access: defaultdict[Access, list[Guard]] = defaultdict(list)
        for guard in guards:
            by_access[guard.access].append(guard)
        if by_access:
            task = event_loop.create_background_task(_check_all(by_access))
            self._checks.add(task)
            task.add_done_callback(self._checks.discard)

    def _on_notice(self, message: bytes) -> None:
        user = message.decode()
        # A lost connection counts as a notice about all users.
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
    while True:
        try:
            # Tried until the database answers: an outage closes no reader.
            await database.call(access.check, patience_s=math.inf)
            return None
        except LunaError as e:
            return e
        except Exception:
            logger.exception("A reader's credential could not be checked; trying again")
        await asyncio.sleep(RETRY_S)


_watches: WeakKeyDictionary[asyncio.AbstractEventLoop, Watch] = WeakKeyDictionary()


def _watch() -> Watch:
    current = asyncio.get_running_loop()
    if current not in _watches:
        _watches[current] = Watch()
    return _watches[current]
