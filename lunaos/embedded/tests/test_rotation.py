"""Logs of `make up` keep to their limit, while their writers go on."""

import os
import sys
from pathlib import Path

import pytest

from lunaos.embedded import rotation
from lunaos.embedded.process import Program
from lunaos.embedded.rotation import rotate
from lunaos.embedded.servers import until
from lunaos.embedded.supervisor import StopRequested, Supervisor


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation, "MAX_LOG_BYTES", 10)


def test_it_works(tmp_path: Path) -> None:
    log = tmp_path / "web.log"
    with open(log, "a") as writer:  # as children have theirs
        for turn in range(6):
            writer.write(f"a long line {turn}\n")
            writer.flush()
            assert rotate(log) and not rotate(log)
            assert log.stat().st_size == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["web.log", "web.log.1", "web.log.2", "web.log.3"]
    assert [(tmp_path / f"web.log.{n}").read_text() for n in (1, 2, 3)] == [f"a long line {n}\n" for n in (5, 4, 3)]


def test_a_small_log_and_none_at_all_stay_as_they_are(tmp_path: Path) -> None:
    log = tmp_path / "web.log"
    assert not rotate(log)
    log.write_text("x" * 10)
    assert not rotate(log)
    assert log.read_text() == "x" * 10


def test_the_supervisor_rotates_what_its_children_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that writes continuously, supervised as by `make up`."""
    monkeypatch.setattr("lunaos.embedded.supervisor.LOG_CHECK_INTERVAL_S", 0.0)
    log = tmp_path / "talker.log"
    code = "import time\nwhile True: print('a line of the log', flush=True); time.sleep(0.01)"
    supervisor = Supervisor(dict(os.environ), print_line=lambda line: None)
    supervisor.start(Program("talker", [sys.executable, "-c", code], log))

    def rotated() -> bool:
        supervisor._tick()
        return (tmp_path / "talker.log.3").exists()

    try:
        assert until(rotated, 20)
        supervisor._on_signal(2, None)
        with pytest.raises(StopRequested):
            supervisor._tick()
    finally:
        supervisor.stop()
    assert not (tmp_path / "talker.log.4").exists()
    assert set((tmp_path / "talker.log.3").read_text().splitlines()) == {"a line of the log"}


def test_a_failed_rotation_does_not_end_the_supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(log: Path) -> bool:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lunaos.embedded.supervisor.rotate", full)
    monkeypatch.setattr("lunaos.embedded.supervisor.LOG_CHECK_INTERVAL_S", 0.0)
    supervisor = Supervisor(dict(os.environ), print_line=lambda line: None)
    supervisor.launch(Program("sleeper", [sys.executable, "-c", "input()"], tmp_path / "log"))
    supervisor._tick()
    supervisor.stop()
