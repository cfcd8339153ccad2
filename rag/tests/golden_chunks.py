"""The recorded chunks of rag/tests/chunk_samples, and the comparison with today's chunks.

After raising CHUNKING_VERSION, run RECORD_COMMAND.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from django.test import override_settings

from rag.chunking import grammars
from rag.chunking.chunker import Chunker
from rag.indexing import indexer
from rag.search import words

SAMPLES = Path(__file__).with_name("chunk_samples")
RECORD = SAMPLES / "chunks.json"
WINDOW = 68  # tokens; small, so that small files have several chunks
RAISE = "raise CHUNKING_VERSION (rag/indexing/indexer.py)"
RECORD_COMMAND = (
    "python -m lunaos.embedded run -- python manage.py shell -c 'from rag.tests.golden_chunks import write; write()'"
)


@override_settings(EMBEDDINGS_TOKENIZER="")  # so that the lengths depend on no model
def compute() -> dict[str, Any]:
    """Return the chunks of all samples and the texts embedded for them, as the record holds them."""
    files = {path.name.removesuffix(".txt"): path.read_text() for path in sorted(SAMPLES.glob("*.txt"))}
    return {
        "max_chunk_tokens": indexer.chunk_tokens(10**6),
        "files": {name: _chunks(name, content) for name, content in files.items()},
    }


def read() -> dict[str, Any]:
    """Return the record: `version`, `max_chunk_tokens` and `files`."""
    record: dict[str, Any] = json.loads(RECORD.read_text())
    return record


def complaint(record: dict[str, Any]) -> str:
    """Return what to do if chunks or version differ from the record; empty if both are equal."""
    version, computed = indexer.CHUNKING_VERSION, compute()
    recorded = {name: value for name, value in record.items() if name != "version"}
    if version == record["version"]:
        return "" if computed == recorded else f"The chunks changed: {RAISE}, then run `{RECORD_COMMAND}`."
    if version < record["version"]:
        return f"CHUNKING_VERSION is {version}, below the recorded {record['version']}: {RAISE}."
    return f"CHUNKING_VERSION is {version}, the record has {record['version']}: run `{RECORD_COMMAND}`."


def write() -> None:
    """Record today's chunks.

    Raises:
        SystemExit: the chunks changed while the version did not rise.
    """
    if RECORD.exists() and RAISE in (found := complaint(read())):
        raise SystemExit(found)
    record = {"version": indexer.CHUNKING_VERSION, **compute()}
    RECORD.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def _chunks(name: str, content: str) -> list[dict[str, Any]]:
    chunker = Chunker(grammars.language_of(name), indexer.chunk_tokens(WINDOW))
    return [
        {
            "lines": [chunk.start_line, chunk.end_line],
            "symbol": chunk.symbol,
            "signature": chunk.signature,
            "content": chunk.content,
            "terms": _hash(words.searchable_text(f"{chunk.symbol} {chunk.content}")),
            "embedded": list(indexer.embedding_texts(name, chunk)),
        }
        for chunk in chunker.chunk(content)
    ]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
