"""CHUNKING_VERSION rises whenever chunks of unchanged files change, so that every file is indexed again."""

from typing import Any

import pytest

from rag.chunking import chunker
from rag.indexing import indexer
from rag.search import words
from rag.tests import golden_chunks


def test_it_works() -> None:
    complaint = golden_chunks.complaint(golden_chunks.read())
    assert not complaint, complaint


def test_the_samples_cover_several_languages_and_split_files() -> None:
    files = golden_chunks.read()["files"]
    assert len(files) == len(list(golden_chunks.SAMPLES.glob("*.txt"))) >= 10
    assert sum(len(chunks) > 1 for chunks in files.values()) >= 8


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [
        (chunker, "MIN_NESTED_SHARE", 0.99),
        (chunker, "MAX_BYTES_PER_TOKEN", 1),
        (chunker, "MAX_SIGNATURE_BYTES", 5),
        (chunker, "ATTACHED_NODES", ()),
        (indexer, "MARGIN_TOKENS", 20),
        (indexer, "MAX_CHUNK_TOKENS", 900),
        (indexer, "MAX_CODE_CHARACTERS", 20),
        (words, "KEYWORDS", frozenset()),
        (words, "MAX_WORD_LENGTH", 3),
    ],
)
def test_changed_chunks_ask_for_a_higher_version(monkeypatch: Any, module: object, name: str, value: object) -> None:
    monkeypatch.setattr(module, name, value)
    assert "raise CHUNKING_VERSION (rag/indexing/indexer.py)" in golden_chunks.complaint(golden_chunks.read())


def test_changed_chunks_are_not_recorded_under_the_same_version(monkeypatch: Any) -> None:
    monkeypatch.setattr(indexer, "MAX_CODE_CHARACTERS", 20)
    before = golden_chunks.RECORD.read_text()
    with pytest.raises(SystemExit, match="raise CHUNKING_VERSION"):
        golden_chunks.write()
    assert golden_chunks.RECORD.read_text() == before


def test_a_raised_version_asks_for_a_record(monkeypatch: Any, tmp_path: Any) -> None:
    monkeypatch.setattr(indexer, "CHUNKING_VERSION", indexer.CHUNKING_VERSION + 1)
    assert golden_chunks.RECORD_COMMAND in golden_chunks.complaint(golden_chunks.read())
    record = tmp_path / "chunks.json"
    record.write_text(golden_chunks.RECORD.read_text())
    monkeypatch.setattr(golden_chunks, "RECORD", record)
    golden_chunks.write()
    assert golden_chunks.complaint(golden_chunks.read()) == ""


def test_a_lowered_version_is_refused(monkeypatch: Any) -> None:
    monkeypatch.setattr(indexer, "CHUNKING_VERSION", indexer.CHUNKING_VERSION - 1)
    assert golden_chunks.RAISE in golden_chunks.complaint(golden_chunks.read())
