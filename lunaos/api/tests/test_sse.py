"""The stream's own module, without a server: opening, late errors, heartbeats, endings."""

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from django.db import OperationalError
from django.http.response import HttpResponseBase

from lunaos.api.exceptions import DATABASE_RETRY_S
from lunaos.api.streaming.sse import HEARTBEAT, EventStreamResponse, PositionedEvent
from lunaos.errors import LunaError, NotFound

Batch = list[dict[str, Any]] | float | Exception


class Script:
    """A scripted reader: events that come together, seconds of silence, a failure, the end."""

    def __init__(self, *batches: Batch) -> None:
        self._batches, self._position, self._silent_until = list(batches), 0, 0.0
        self.closed = False

    async def read(self, within_s: float) -> list[PositionedEvent] | None:
        if self._batches and isinstance(self._batches[0], float):
            pause_s = min(within_s, self._batches[0])
            await asyncio.sleep(pause_s)
            self._batches[0] -= pause_s
            if self._batches[0] > 0:
                return []
            self._batches.pop(0)
        if not self._batches:
            return None
        batch = self._batches.pop(0)
        if isinstance(batch, Exception):
            raise batch
        assert isinstance(batch, list)
        first, self._position = self._position + 1, self._position + len(batch)
        return list(enumerate(map(orjson.dumps, batch), first))

    def close(self) -> None:
        self.closed = True


def anything(line: bytes) -> bool:
    return True


def play(
    script: Script, within_s: float = 1.0, is_opening_event: Callable[[bytes], bool] | None = anything
) -> tuple[HttpResponseBase, list[bytes]]:
    """Open the stream and read all of it."""

    async def read() -> tuple[HttpResponseBase, list[bytes]]:
        response = await EventStreamResponse(lambda: script, {}, is_opening_event=is_opening_event).open(within_s)
        return response, [part async for part in response] if isinstance(response, EventStreamResponse) else []

    return asyncio.run(read())


def test_events_are_numbered_and_sent_in_their_batches() -> None:
    script = Script([{"a": 1}, {"a": 2}], 0.01, [{"a": 3}])
    _, parts = play(script)
    assert parts == [b'id: 1\ndata: {"a":1}\n\nid: 2\ndata: {"a":2}\n\n', b'id: 3\ndata: {"a":3}\n\n']
    assert script.closed


def test_a_failure_before_the_opening_is_raised() -> None:
    script = Script(NotFound())
    with pytest.raises(NotFound):
        play(script)
    assert script.closed


def test_an_error_event_that_would_open_it_is_raised() -> None:
    event = {"type": "error", "error": "Busy.", "code": "service_unavailable", "retryAfter": 7}
    with pytest.raises(LunaError) as raised:
        play(Script([event]))
    assert (raised.value.status, raised.value.code, raised.value.retry_after) == (503, "service_unavailable", 7)
    assert str(raised.value) == "Busy."


def test_a_replay_that_ends_with_an_error_is_no_failure() -> None:
    _, parts = play(Script([{"type": "start"}, {"type": "error", "code": "x"}]), is_opening_event=None)
    assert parts[0].count(b"data: ") == 2


@pytest.mark.parametrize(("error", "code"), [(NotFound(), b"not_found"), (RuntimeError("secret"), b"internal_error")])
def test_a_later_failure_is_an_event_without_an_id(error: Exception, code: bytes) -> None:
    _, (*_, last) = play(Script([{"a": 1}], 0.01, error))
    assert last.startswith(b'data: {"type":"error",') and code in last
    assert b"secret" not in last


def test_a_late_error_says_when_to_try_again() -> None:
    _, (*_, last) = play(Script([{"a": 1}], 0.01, OperationalError()))
    event = orjson.loads(last.removeprefix(b"data: "))
    assert event == {**event, "type": "error", "code": "service_unavailable", "retryAfter": DATABASE_RETRY_S}


def test_a_late_error_is_an_event_of_its_own_behind_a_heartbeat(settings: Any) -> None:
    settings.STREAM_HEARTBEAT_S = 0.05
    _, parts = play(Script([{"a": 1}], 0.08, NotFound()))
    assert parts[1:-1] == [HEARTBEAT]
    assert parts[-1].startswith(b'data: {"type":"error",') and parts[-1].endswith(b"\n\n")


def test_a_heartbeat_is_one_line() -> None:
    assert HEARTBEAT == b": keep-alive\n"


def test_events_before_the_opening_event_are_held() -> None:
    script = Script([{"type": "chain_start"}], 0.05, [{"type": "chunk"}])
    _, parts = play(script, is_opening_event=lambda line: b"chunk" in line)
    assert parts == [b'id: 1\ndata: {"type":"chain_start"}\n\nid: 2\ndata: {"type":"chunk"}\n\n']


def test_a_late_first_event_is_awaited_behind_a_comment() -> None:
    _, (first, second) = play(Script(0.1, [{"a": 1}]), within_s=0.01)
    assert (first, second) == (HEARTBEAT, b'id: 1\ndata: {"a":1}\n\n')


def test_nothing_left_to_read_is_204() -> None:
    script = Script()
    response, parts = play(script, is_opening_event=None)
    assert (response.status_code, parts, script.closed) == (204, [], True)


def test_silence_is_filled_with_heartbeats(settings: Any) -> None:
    settings.STREAM_HEARTBEAT_S = 0.05
    _, parts = play(Script([{"a": 1}], 0.2, [{"a": 2}]))
    assert parts[0] == b'id: 1\ndata: {"a":1}\n\n' and parts[-1] == b'id: 2\ndata: {"a":2}\n\n'
    assert set(parts[1:-1]) == {HEARTBEAT} and len(parts) >= 4


def leave(script: Script, *, reading: bool) -> list[str]:
    """Disconnect while the stream opens or later; return what the response reported."""
    noticed: list[str] = []

    async def go() -> None:
        response = EventStreamResponse(
            lambda: script, {}, is_opening_event=anything, on_disconnect=lambda: noticed.append("left")
        )
        opening = asyncio.ensure_future(response.open(5))
        if reading:
            await opening
            body = response._body()
            await anext(body)
            await body.aclose()  # type: ignore[attr-defined]
        else:
            await asyncio.sleep(0.01)
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)

    asyncio.run(go())
    return noticed


def test_a_disconnect_is_reported() -> None:
    script = Script([{"a": 1}], 5.0, [{"a": 2}])
    assert leave(script, reading=True) == ["left"]
    assert script.closed


def test_a_disconnect_during_the_opening_is_reported() -> None:
    script = Script(5.0, [{"a": 1}])
    assert leave(script, reading=False) == ["left"]
    assert script.closed


def test_reading_to_the_end_is_no_disconnect() -> None:
    noticed: list[str] = []

    async def read() -> None:
        response = EventStreamResponse(lambda: Script([{"a": 1}]), {}, on_disconnect=lambda: noticed.append("left"))
        await response.open(1)
        assert len([part async for part in response]) == 1

    asyncio.run(read())
    assert noticed == []
