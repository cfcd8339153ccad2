"""lunaos.infra.ttl_cache: values kept for a few seconds."""

import time

import pytest

from lunaos.infra import ttl_cache
from lunaos.infra.ttl_cache import TtlCache


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_it_works(clock: list[float]) -> None:
    read = iter(range(10))
    current = TtlCache(lambda: next(read))
    assert (current(), current()) == (0, 0)
    clock[0] += ttl_cache.TTL_S
    assert current() == 0
    clock[0] += 0.1
    assert (current(), current()) == (1, 1)


def test_forget(clock: list[float]) -> None:
    read = iter(range(10))
    current = TtlCache(lambda: next(read))
    current()
    current.forget()
    assert current() == 1


def test_a_failed_read_is_tried_again(clock: list[float]) -> None:
    tries = iter(range(2))

    def read() -> str:
        if next(tries) == 0:
            raise OSError("down")
        return "rows"

    current = TtlCache(read)
    with pytest.raises(OSError, match="down"):
        current()
    assert current() == "rows"
