"""lunaos.infra.read_access without servers: the credentials that are checked."""

import asyncio
import time
import uuid
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from lunaos.errors import TokenInvalid
from lunaos.infra import pubsub
from lunaos.infra import read_access as access
from lunaos.infra.read_access import MAX_READERS_PER_USER, Access, Guard, TooManyReaders


class Silent:
    """A reader that waits until `news` is set."""

    def __init__(self) -> None:
        self.waits, self.news = asyncio.Event(), asyncio.Event()

    async def read(self, within_s: float) -> str:
        self.waits.set()
        await self.news.wait()
        return "news"


class Credential:
    """A credential that counts its checks."""

    def __init__(self) -> None:
        self.checks, self.good, self.user_id = 0, True, uuid.uuid4()

    def check(self) -> None:
        self.checks += 1
        if not self.good:
            raise TokenInvalid()

    def access(self, **fields: Any) -> Access:
        return Access(self.user_id, "token", self.check, fields.pop("checked_at", time.monotonic()), **fields)


@pytest.fixture
def run(monkeypatch: Any, database: None) -> Callable[[Callable[[Any], Coroutine[Any, Any, None]]], None]:
    """Run a test on a loop of its own, with a way to play the channel's messages."""

    def run(test: Callable[[Any], Coroutine[Any, Any, None]]) -> None:
        listening: list[Callable[[bytes], None]] = []
        monkeypatch.setattr(pubsub, "subscribe", lambda channel, callback: listening.append(callback))

        async def main() -> None:
            access._watch()
            await test(listening[0])

        asyncio.run(main())

    return run


def test_it_works(run: Any) -> None:
    async def test(notice: Any) -> None:
        credential, reader = Credential(), Silent()
        guard = Guard(credential.access())
        guard.open()
        reading = asyncio.create_task(guard.read(reader, 15))
        await reader.waits.wait()
        credential.good = False
        notice(str(credential.user_id).encode())
        with pytest.raises(TokenInvalid):
            await reading
        with pytest.raises(TokenInvalid):
            await guard.read(reader, 15)
        guard.close()

    run(test)


def test_a_valid_credential_reads_on_and_others_are_not_checked(run: Any) -> None:
    async def test(notice: Any) -> None:
        mine, other, reader = Credential(), Credential(), Silent()
        guards = [Guard(mine.access()), Guard(other.access())]
        for guard in guards:
            guard.open()
        reading = asyncio.create_task(guards[0].read(reader, 15))
        await reader.waits.wait()
        notice(str(mine.user_id).encode())
        await asyncio.gather(*access._watch()._checks)
        reader.news.set()
        assert await reading == "news"
        assert (mine.checks, other.checks) == (1, 0)

    run(test)


def test_one_check_for_all_readers_of_a_credential(run: Any) -> None:
    async def test(notice: Any) -> None:
        credential = Credential()
        for _ in range(50):
            Guard(credential.access()).open()
        notice(b"")
        await asyncio.gather(*access._watch()._checks)
        assert credential.checks == 1

    run(test)


def test_a_notice_between_the_requests_check_and_the_opening(run: Any) -> None:
    async def test(notice: Any) -> None:
        credential = Credential()
        opened = credential.access()
        notice(str(credential.user_id).encode())
        credential.good = False
        guard = Guard(opened)
        guard.open()
        await asyncio.gather(*access._watch()._checks)
        with pytest.raises(TokenInvalid):
            await guard.read(Silent(), 15)
        later = Credential()
        Guard(later.access()).open()
        assert not access._watch()._checks and later.checks == 0

    run(test)


def test_a_credential_that_expires(run: Any) -> None:
    async def test(notice: Any) -> None:
        credential = Credential()
        credential.good = False
        guard = Guard(credential.access(expires_at=time.time()))
        guard.open()
        with pytest.raises(TokenInvalid):
            await guard.read(Silent(), 15)

    run(test)


def test_an_outage_closes_no_reader(run: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(access, "RETRY_S", 0.0)

    async def test(notice: Any) -> None:
        credential = Credential()
        failures = iter([RuntimeError("a driver's"), TokenInvalid()])

        def check() -> None:
            raise next(failures)

        guard = Guard(Access(credential.user_id, "token", check, time.monotonic()))
        guard.open()
        notice(b"*")
        with pytest.raises(TokenInvalid):
            await guard.read(Silent(), 15)

    run(test)


def test_closed_readers_leave_no_state(run: Any) -> None:
    async def test(notice: Any) -> None:
        guard = Guard(Credential().access(expires_at=time.time() + 1000))
        guard.open()
        guard.close()
        assert not access._watch()._guards

    run(test)


def test_a_user_has_a_limited_number_of_readers(run: Any) -> None:
    async def test(_: Any) -> None:
        credential, other = Credential(), Credential()
        guards = [Guard(credential.access(), is_limited=True) for _ in range(MAX_READERS_PER_USER + 1)]
        for guard in guards[:-1]:
            guard.open()
        with pytest.raises(TooManyReaders):
            guards[-1].open()
        guards[-1].close()
        Guard(credential.access()).open()  # the stream of a new run
        Guard(other.access(), is_limited=True).open()
        guards[0].close()
        guards[-1].open()

    run(test)
