"""The stream's own module, without a server: late errors, heartbeats, endings."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from lunaos.api.sse import HEARTBEAT, EventStreamResponse, encode
from lunaos.errors import NotFound

Events = list[dict[str, Any]]


def play(batches: AsyncIterator[Events], within_s: float = 1.0) -> list[bytes]:
    """Open the stream and read it to its end."""

    async def read() -> list[bytes]:
        response = EventStreamResponse(batches, {})
        await response.open(within_s)
        return [part async for part in response]

    return asyncio.run(read())


async def saying(*batches: Events | float | Exception) -> AsyncIterator[Events]:
    for batch in batches:
        if isinstance(batch, Exception):
            raise batch
        if isinstance(batch, float):
            await asyncio.sleep(batch)
        else:
            yield batch


def test_events_are_numbered_and_what_came_together_goes_together() -> None:
    parts = play(saying([{"a": 1}, {"a": 2}], 0.01, [{"a": 3}]))
    assert parts == [encode(1, {"a": 1}) + encode(2, {"a": 2}), encode(3, {"a": 3})]
    assert parts[1] == b'id: 3\ndata: {"a":3}\n\n'


def test_what_fails_before_the_first_event_is_raised() -> None:
    with pytest.raises(NotFound):
        play(saying(NotFound()))


@pytest.mark.parametrize(("error", "code"), [(NotFound(), b"not_found"), (RuntimeError("secret"), b"internal_error")])
def test_what_fails_later_is_the_last_event(error: Exception, code: bytes) -> None:
    *_, last = play(saying([{"a": 1}], 0.01, error))
    assert last.startswith(b'id: 2\ndata: {"type":"error",') and code in last
    assert b"secret" not in last


def test_a_late_first_event_is_awaited_behind_a_comment() -> None:
    first, second = play(saying(0.1, [{"a": 1}]), within_s=0.01)
    assert (first, second) == (HEARTBEAT, encode(1, {"a": 1}))


def test_silence_is_filled(settings: Any) -> None:
    settings.STREAM_HEARTBEAT_S = 0.05
    parts = play(saying([{"a": 1}], 0.2, [{"a": 2}]))
    assert parts[0] == encode(1, {"a": 1}) and parts[-1] == encode(2, {"a": 2})
    assert set(parts[1:-1]) == {HEARTBEAT} and len(parts) >= 4


def test_leaving_ends_the_run_and_waits_for_it() -> None:
    ended = []

    async def run() -> AsyncIterator[Events]:
        try:
            yield [{"a": 1}]
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            ended.append(True)

    async def leave() -> None:
        response = EventStreamResponse(run(), {})
        await response.open(1)
        body = response._body()
        await anext(body)
        await body.aclose()  # type: ignore[attr-defined]

    asyncio.run(leave())
    assert ended == [True]


def test_leaving_while_it_opens_ends_the_run_too() -> None:
    ended = []

    async def run() -> AsyncIterator[Events]:
        try:
            await asyncio.Event().wait()
            yield []
        finally:
            ended.append(True)

    async def leave() -> None:
        opening = asyncio.ensure_future(EventStreamResponse(run(), {}).open(5))
        await asyncio.sleep(0.01)
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)

    asyncio.run(leave())
    assert ended == [True]
