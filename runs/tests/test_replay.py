"""A reader holds one piece of a run's events, however long the run was."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from lunaos.infra import event_loop, redis
from runs import outcomes, replay
from runs import services as run_services
from runs.eventlog import log
from runs.eventlog.follower import RunFollower
from runs.models import Run, RunText, Status

LINES = [b'{"type":"start"}', *(b'{"type":"chunk","content":"%d \xf0\x9f\x99\x82"}' % n for n in range(500))]
DONE_LINE, ERROR_LINE = b'{"type":"done"}', b'{"type":"error","code":"x"}'


def ended(user: Any, *lines: bytes) -> Run:
    """Return a run that has ended with these events, which are in the database only."""
    run = run_services.create(user=user, text="x", agent="a", provider="deepseek", model="m", request_id="r").run
    outcome = outcomes.Outcome(Status.SUCCEEDED, "deepseek", "m", events=b"\n".join(lines).decode())
    assert outcomes.finish(run, outcome)
    redis.event_log().delete(log.channel(run.pk))
    run.refresh_from_db()
    return run


def batches(run: Run, after: int = 0) -> list[list[tuple[int, bytes]]]:
    """Return what a reader receives, one item a read."""

    async def read() -> list[list[tuple[int, bytes]]]:
        follower, found = RunFollower(run, after), []
        try:
            while (entries := await asyncio.wait_for(follower.read(1), 20)) is not None:
                found.append(entries)
        finally:
            follower.close()
        return found

    return event_loop.submit(read()).result(30)


def flat(found: list[list[tuple[int, bytes]]]) -> list[tuple[int, bytes]]:
    return [entry for batch in found for entry in batch]


@pytest.mark.parametrize("piece_bytes", [7, 64, 1_000, 10**6])
def test_every_reader_gets_the_same(database: None, alice: Any, monkeypatch: Any, piece_bytes: int) -> None:
    """Pieces end anywhere, in the middle of a character too."""
    monkeypatch.setattr(replay, "PIECE_BYTES", piece_bytes)
    lines = [*LINES[:40], DONE_LINE]
    run = ended(alice, *lines)
    whole = list(enumerate(lines, 1))
    assert flat(batches(run)) == whole
    for after in (1, 20, 40):
        assert flat(batches(run, after)) == whole[after:]
    assert batches(run, 41) == []
    for beyond in (42, 2**53):
        assert flat(batches(run, beyond)) == whole[-1:]


def test_a_reader_holds_one_piece(database: None, alice: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(replay, "PIECE_BYTES", 1_000)
    run = ended(alice, *LINES, DONE_LINE)
    sizes = [sum(len(line) for _, line in batch) for batch in batches(run)]
    assert len(sizes) > 10 and max(sizes) <= 1_000 + len(LINES[-1])


@pytest.mark.parametrize("piece_bytes", [1, 30, 60, 90])
def test_an_error_that_was_left_behind_ends_nothing(
    database: None, alice: Any, monkeypatch: Any, piece_bytes: int
) -> None:
    monkeypatch.setattr(replay, "PIECE_BYTES", piece_bytes)
    run = ended(alice, LINES[0], ERROR_LINE, *LINES[1:4], ERROR_LINE)
    assert [position for position, _ in flat(batches(run))] == [1, 3, 4, 5, 6]


def test_the_log_is_read_in_pieces_too(database: None, monkeypatch: Any) -> None:
    """Also where a provider sent all of it at once, and so one append brought it."""
    monkeypatch.setattr(log, "MAX_ENTRY_BYTES", 500)
    monkeypatch.setattr(log, "PIECE_BYTES", 2_000)
    run_id = uuid4()

    async def read() -> list[list[tuple[int, bytes]]]:
        await log.append(log.AppendRequest(run_id, 0, LINES, 1))
        found, after = list[list[tuple[int, bytes]]](), 0
        while entries := await log.read_piece(run_id, after=after):
            found.append(entries)
            after = entries[-1][0]
        return found

    pieces = event_loop.submit(read()).result(20)
    assert flat(pieces) == list(enumerate(LINES, 1)) == event_loop.submit(log.read(run_id)).result(20)
    assert len(pieces) > 5 and max(sum(len(line) for _, line in piece) for piece in pieces) <= 2_600
    redis.event_log().delete(log.channel(run_id))


def test_all_lines_for_an_export(database: None, alice: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(replay, "PIECE_BYTES", 100)
    run = ended(alice, *LINES, DONE_LINE)
    assert list(replay.read_lines(run)) == [*LINES, DONE_LINE]
    RunText.objects.filter(run_id=run.pk).delete()
    assert list(replay.read_lines(run)) == []
