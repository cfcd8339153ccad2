"""An export holds a bounded part of a long row in memory."""

import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from accounts.privacy import registry
from accounts.tests.test_export import add_file
from lunaos.api import download
from lunaos.api import json as encoder
from rag.models import File, IndexJob, Upload
from runs import replay
from runs.tests.test_replay import DONE_LINE, LINES, ended

MB = 2**20


def peak_bytes(pieces: Iterator[bytes]) -> int:
    """Return the most that Python held while pieces were made and thrown away."""
    tracemalloc.start()
    try:
        assert sum(map(len, pieces)) > 20 * MB
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def section(user: Any, name: str) -> Iterator[bytes]:
    return download._pieces(iter([(name, dict(registry.export(user))[name])]))


def data(pieces: Iterator[bytes]) -> Any:
    return json.loads(b"".join(pieces))["data"]


def test_a_long_file_is_not_held_in_memory(alice: Any) -> None:
    add_file(alice, "a.py", *["x" * 200_000] * 250)
    assert peak_bytes(section(alice, "files")) < 30 * MB


def test_a_long_run_is_not_held_in_memory(alice: Any) -> None:
    line = b'{"type":"chunk","content":"%b"}' % (b"x" * 8_000)
    ended(alice, *[line] * 3_000)
    assert peak_bytes(section(alice, "runs")) < 10 * MB


def test_files_long_and_short(alice: Any) -> None:
    """Measured or not, with many chunks, one or none."""
    add_file(alice, "long.py", *[str(n) for n in range(120)])
    add_file(alice, "empty.py")
    add_file(alice, "a.py", "one", "two")
    File.objects.exclude(path="long.py").update(bytes=200)
    add_file(alice, "b.py", "three")
    found = {
        file["path"]: [each["content"] for each in file["chunks"]] for file in data(section(alice, "files"))["files"]
    }
    assert found == {
        "long.py": [str(n) for n in range(120)],
        "empty.py": [],
        "a.py": ["one", "two"],
        "b.py": ["three"],
    }
    assert set(next(iter(data(section(alice, "files"))["files"]))["chunks"][0]) >= {"content", "symbol", "startLine"}


def test_runs_long_and_short(alice: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(registry, "MAX_BATCH_BYTES", 1_000)
    long, *short = (ended(alice, *lines) for lines in ([*LINES, DONE_LINE], [DONE_LINE], [LINES[1], DONE_LINE]))
    found = {run["id"]: run["events"] for run in data(section(alice, "runs"))["runs"]}
    for run in (long, *short):
        assert found[str(run.pk)] == [json.loads(line) for line in replay.read_lines(run)] != []


def test_pending_uploads(alice: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(registry, "MAX_BATCH_BYTES", 100)
    job = IndexJob.objects.create(repository=add_file(alice, "a.py"), model="m")
    Upload.objects.bulk_create(Upload(job=job, path=f"{n}.py", content="x" * n) for n in range(60))
    found = data(section(alice, "uploads"))["uploads"]
    assert [(each["path"], len(each["content"])) for each in found] == [(f"{n}.py", n) for n in range(60)]
    assert "contentBytes" not in found[0]


@pytest.mark.parametrize(
    "length", [0, 1, download.MAX_PIECE_BYTES, download.MAX_PIECE_BYTES + 1, 3 * download.MAX_PIECE_BYTES]
)
def test_a_long_text_is_encoded_as_a_short_one(length: int) -> None:
    text = ('"\\\n\x00\u2028🙂ä' * length)[:length]
    row = {"a": 1, "text": text, "b": [text[:5]]}
    assert b"".join(download._object(row)) == encoder.dumps(row)


@pytest.mark.parametrize("items", [[], [1], [{"a": "b"}, {"c": None}]])
def test_an_iterator_is_encoded_as_a_list(items: list[Any]) -> None:
    assert b"".join(download._object({"x": iter(items), "y": 0})) == encoder.dumps({"x": items, "y": 0})


def test_batches() -> None:
    def divided(*sizes: int) -> list[list[int]]:
        return list(registry.in_batches(sizes, lambda size: size))

    assert divided() == []
    assert divided(*[1] * 45) == [[1] * 20, [1] * 20, [1] * 5]
    assert divided(MB, 1, 2 * MB, 1, 1) == [[MB], [1], [2 * MB], [1, 1]]
