"""Beat's schedule, whatever has become of its file."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from lunaos.celery import app
from lunaos.infra import redis
from lunaos.infra.task_queue import beat_scheduler

NAMES = set(app.conf.beat_schedule)


def scheduler(file: Path) -> beat_scheduler.Scheduler:
    return beat_scheduler.Scheduler(app=app, schedule_filename=str(file))


def test_it_stores_the_last_run_of_each_task(tmp_path: Path) -> None:
    first = scheduler(tmp_path / "schedule")
    ran = app.now() - timedelta(hours=3)
    first.schedule["recover-chains"].last_run_at = ran
    first.close()
    assert scheduler(tmp_path / "schedule").schedule["recover-chains"].last_run_at == ran
    assert not (tmp_path / "schedule.new").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 4096,
        b"SQLite format 3\x00 and no more",
        b"\x13\x57\x9a\xce of a shelf",
        b"{",
        b"[]",
        b'{"recover-chains": 7}',
        b'{"recover-chains": "2026-11-30T10:00:00"}',
        b'{"recover-chains": null}',
    ],
)
def test_a_file_that_cannot_be_read_is_dropped(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "schedule"
    file.write_bytes(content)
    assert set(scheduler(file).schedule) >= NAMES
    assert set(json.loads(file.read_text())) >= NAMES


def test_future_times_and_unknown_tasks_are_ignored(tmp_path: Path) -> None:
    file = tmp_path / "schedule"
    future = (app.now() + timedelta(days=400)).isoformat()
    file.write_text(json.dumps({"recover-chains": future, "gone": future}))
    found = scheduler(file).schedule
    assert found["recover-chains"].last_run_at <= app.now() and "gone" not in found


def test_an_unwritable_folder_does_not_stop_beat(tmp_path: Path) -> None:
    (tmp_path / "schedule").mkdir()
    found = scheduler(tmp_path / "schedule")
    assert set(found.schedule) >= NAMES
    found.sync()
    found.close()


def test_a_failed_round_is_followed_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = scheduler(tmp_path / "schedule")
    monkeypatch.setattr(found, "populate_heap", lambda: 1 / 0)
    assert found.tick() == beat_scheduler.PAUSE_S


def test_it_writes_a_heartbeat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    redis.client().delete(beat_scheduler.HEARTBEAT_KEY)
    found = scheduler(tmp_path / "schedule")
    found.tick()
    assert float(redis.client().get(beat_scheduler.HEARTBEAT_KEY) or 0) > 0
    assert redis.client().ttl(beat_scheduler.HEARTBEAT_KEY) > 0
