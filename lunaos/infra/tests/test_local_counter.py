"""lunaos.infra.local_counter: windows, and the limit on their number."""

from typing import Any

from lunaos.infra import local_counter
from lunaos.infra.local_counter import LocalCounter


def at(monkeypatch: Any, seconds: float) -> None:
    monkeypatch.setattr("time.monotonic", lambda: seconds)


def test_a_window_ends(monkeypatch: Any) -> None:
    counter = LocalCounter()
    at(monkeypatch, 100.0)
    assert [counter.hit("a", 60)[0] for _ in range(3)] == [1, 2, 3]
    assert counter.hit("b", 60) == (1, 60.0)
    at(monkeypatch, 159.0)
    assert counter.hit("a", 60) == (4, 1.0)
    at(monkeypatch, 160.0)
    assert counter.hit("a", 60) == (1, 60.0)


def test_it_does_not_grow_without_end(monkeypatch: Any) -> None:
    monkeypatch.setattr(local_counter, "MAX_KEYS", 3)
    counter = LocalCounter()
    at(monkeypatch, 0.0)
    counter.hit("old", 10)
    at(monkeypatch, 20.0)
    for key in "abcd":
        counter.hit(key, 60)
    assert len(counter._windows) <= 3
    assert counter.hit("d", 60)[0] == 2
