"""Event lines: the end of a run and its bill depend on their types."""

import re
import tracemalloc
from pathlib import Path

import orjson
import pytest
from django.conf import settings

from lunaos.event_lines import TERMINAL, encode, type_of

# A prefix of an event line in bytes, as modules compared it before this one existed.
PREFIX = re.compile(rb"""b['"]\{\\?["']type\\?["']:""")
TYPES = ("start", "rag", "progress", "chunk", "chain_start", "step_start", "step_done", *sorted(TERMINAL))


@pytest.mark.parametrize("kind", TYPES)
def test_it_works(kind: str) -> None:
    event = {"type": kind, "content": 'a "type": "done" in a text\n'}
    line = encode(event)
    assert type_of(line) == kind and orjson.loads(line) == event


def test_a_line_is_a_single_line() -> None:
    assert b"\n" not in encode({"type": "chunk", "content": "two\nlines"})


def test_the_order_of_the_members_does_not_decide_about_the_type() -> None:
    assert type_of(b'{"tokens":{"type":"chunk"},"type":"done"}') == "done"
    assert type_of(b'{ "type": "error" }') == "error"


@pytest.mark.parametrize("event", [{}, {"content": "x", "type": "chunk"}, {"content": "x"}, {"type": None}])
def test_an_event_that_does_not_begin_with_its_type_is_refused(event: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="first member"):
        encode(event)


@pytest.mark.parametrize("line", [b"[]", b'"done"', b"{}", b'{"content":"no type"}'])
def test_json_without_a_type_has_an_empty_type(line: bytes) -> None:
    assert type_of(line) == ""


@pytest.mark.parametrize("line", [b"", b'{"type":"done', b"no JSON"])
def test_a_line_that_is_no_json_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of orjson and of bytes
        type_of(line)


def test_a_line_takes_no_more_memory_than_its_length() -> None:
    tracemalloc.start()
    try:
        lines = [encode({"type": "chunk", "content": "x"}) for _ in range(1_000)]
        assert tracemalloc.get_traced_memory()[0] < 1_000 * (len(lines[0]) + 100)
    finally:
        tracemalloc.stop()


def test_no_other_module_compares_prefixes_of_lines() -> None:
    """A prefix breaks silently with the order of the members."""
    apps = ("accounts", "agents", "billing", "chains", "lunaos", "rag", "refusals", "runs", "testing", "web")
    modules = (path for app in apps for path in (Path(settings.BASE_DIR) / app).rglob("*.py"))
    found = [path for path in modules if "tests" not in path.parts and PREFIX.search(path.read_bytes())]
    assert [path.name for path in found] == ["event_lines.py"]
