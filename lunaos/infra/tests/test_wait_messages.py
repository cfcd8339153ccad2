"""lunaos.infra.wait_messages: messages to a waiting operator."""

import os
import re
import sys
import threading
from pathlib import Path

import pytest

from lunaos.embedded.process import Program
from lunaos.embedded.supervisor import Supervisor
from lunaos.infra import wait_messages


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wait_messages, "INTERVAL_S", 0.02)


def test_it_works() -> None:
    lines: list[str] = []
    twice = threading.Event()

    def say(line: str) -> None:
        lines.append(line)
        if len(lines) == 2:
            twice.set()

    with wait_messages.repeat_while_waiting(say, lambda: f"part {len(lines)}"):
        assert twice.wait(10)
    said = len(lines)
    assert re.fullmatch(r"  waiting for part 0 \(\d+ s\)", lines[0]) and "part 1" in lines[1]
    assert not [thread for thread in threading.enumerate() if thread.name == "waiting"] and len(lines) == said


def test_a_fast_program_prints_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wait_messages, "INTERVAL_S", 60.0)
    lines: list[str] = []
    with pytest.raises(KeyError), wait_messages.repeat_while_waiting(lines.append, lambda: "nothing"):
        raise KeyError
    assert lines == []


def test_a_slow_program_is_named(tmp_path: Path) -> None:
    lines: list[str] = []
    slow = Program("slow", [sys.executable, "-c", "input()"], tmp_path / "log", ready=lambda: len(lines) > 1)
    quick = Program("quick", [sys.executable, "-c", "input()"], tmp_path / "log")
    supervisor = Supervisor(dict(os.environ), print_line=lines.append)
    try:
        supervisor.start(slow, quick)
    finally:
        supervisor.stop()
    assert any(re.fullmatch(r"  waiting for slow(, quick)? \(\d+ s\)", line) for line in lines)
