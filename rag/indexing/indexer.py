"""Turns files into chunks and vectors: only what has changed, several files' chunks in one request to the model."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from uuid import UUID

from rag.chunking import grammars, pool
from rag.chunking.chunker import SourceChunk
from rag.indexing import sizes, skip_rules, store
from rag.indexing.store import PreparedFile
from rag.models import Repository
from rag.search import vectors, words
from rag.search.embeddings import Embedder

CHUNKING_VERSION = 4  # of the way files are cut and described; a new number has all files indexed anew
BATCH_FILES = 100  # whose digests are looked up together
BATCH_CHARACTERS = 2_000_000  # in memory
WRITE_BATCH_CHUNKS = 64  # written together
# Chunks in one request to the model, two texts each: few, since somebody's search may wait behind them.
CHUNKS_PER_REQUEST = 8
# Room that a chunk leaves in the model's window, for what its tokenizer adds.
MARGIN_TOKENS = 8
# The longest chunk, in tokens: models of long windows blur what is long.
MAX_CHUNK_TOKENS = 1_000
# Of code, the model reads so many characters: what a function is for shows at its beginning. Words are found anywhere.
MAX_CODE_CHARACTERS = 500
PROSE_LANGUAGES = {grammars.TEXT, "markdown"}  # read whole


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to index.

    Args:
        content: None where it was left out unread, for the given reason.
    """

    path: str
    content: str | None
    reason: str | None = None


@dataclass(slots=True)
class Progress:
    """What has been done since it was last reported.

    Args:
        chunks: vectors that the files done have in the index.
        skipped: path and reason.
    """

    paths: list[str] = field(default_factory=list)
    unchanged: int = 0
    chunks: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)


OnProgress = Callable[[Progress], None]


def index_files(
    repository: Repository,
    files: Iterable[SourceFile],
    embedder: Embedder,
    report: OnProgress,
    checkpoint: Callable[[], None] = lambda: None,
    job_id: UUID | None = None,
) -> None:
    """Bring files into the index; each is in it, whole, when it is reported.

    Args:
        report: called every now and then with what has been done since the last call.
        checkpoint: called checkpoint each batch, each file and each request to the model; what it raises breaks off.
        job_id: whose uploads the files are.

    Raises:
        EmbeddingsUnavailable, EmbeddingsFailed: what was reported is in the index.
    """
    pending: list[PreparedFile] = []
    for batch in _batches(files):
        checkpoint()
        progress, changed = _partition(repository, batch)
        report(progress)
        for file in changed:
            checkpoint()
            pending.append(_chunk_file(file, embedder.window))
            if sum(len(each.chunks) for each in pending) >= WRITE_BATCH_CHUNKS:
                report(_embed_and_store(repository, pending, embedder, checkpoint, job_id))
                pending = []
    if pending:
        report(_embed_and_store(repository, pending, embedder, checkpoint, job_id))


def apply_skip_rules(file: SourceFile) -> SourceFile:
    """The file, or why it is left out."""
    if file.content is None or (reason := skip_rules.skip_reason(file.path, file.content)) is None:
        return file
    return SourceFile(file.path, None, reason)


def embed_chunks(
    embedder: Embedder,
    paths_and_chunks: Sequence[tuple[str, SourceChunk]],
    checkpoint: Callable[[], None] = lambda: None,
) -> list[list[float]]:
    """A vector for each chunk: the direction between its code and its description in plain words.

    Measured on 2 400 functions (docs/performance.md), this finds more than either, and more than one text of both.
    Of code only the beginning is read: that finds as much, and costs a third less.
    """
    found: list[list[float]] = []
    for start in range(0, len(paths_and_chunks), CHUNKS_PER_REQUEST):
        checkpoint()
        part = paths_and_chunks[start : start + CHUNKS_PER_REQUEST]
        described = [words.describe(path, chunk.symbol, chunk.signature) for path, chunk in part]
        embedded = embedder.embed([_embedded_text(path, chunk) for path, chunk in part] + described)
        found += map(vectors.blend, embedded[: len(part)], embedded[len(part) :])
    return found


def _embedded_text(path: str, chunk: SourceChunk) -> str:
    return chunk.content if grammars.language_of(path) in PROSE_LANGUAGES else chunk.content[:MAX_CODE_CHARACTERS]


def _batches(files: Iterable[SourceFile]) -> Iterator[list[SourceFile]]:
    """So many that looking them up together pays, so few that memory stays bounded."""
    batch, characters = list[SourceFile](), 0
    for file in files:
        batch.append(file)
        characters += len(file.content or "")
        if len(batch) == BATCH_FILES or characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _partition(repository: Repository, batch: Sequence[SourceFile]) -> tuple[Progress, list[SourceFile]]:
    """What is to be left out, what has not changed, and the rest. What is left out now is not found any more."""
    progress, changed = Progress(), []
    known = store.digests_and_chunk_counts(repository, [file.path for file in batch])
    for file in batch:
        if reason := apply_skip_rules(file).reason:
            progress.skipped.append((file.path, reason))
        elif known.get(file.path, ("", 0))[0] == digest(file.content or ""):
            progress.unchanged += 1
            progress.chunks += known[file.path][1]
        else:
            changed.append(file)
            continue
        progress.paths.append(file.path)
    store.remove_files(repository, [path for path, _ in progress.skipped if path in known])
    return progress, changed


def _chunk_file(file: SourceFile, window: int) -> PreparedFile:
    content, language = file.content or "", grammars.language_of(file.path)
    chunks = pool.chunk_file(language, min(window, MAX_CHUNK_TOKENS) - MARGIN_TOKENS, content)
    return PreparedFile(file.path, digest(content), language, sizes.file_bytes(file.path, content), chunks)


def _embed_and_store(
    repository: Repository,
    files: Sequence[PreparedFile],
    embedder: Embedder,
    checkpoint: Callable[[], None],
    job_id: UUID | None,
) -> Progress:
    embedded = iter(embed_chunks(embedder, [(file.path, chunk) for file in files for chunk in file.chunks], checkpoint))
    for file in files:
        embeddings = list(islice(embedded, len(file.chunks)))
        store.replace_file(repository, replace(file, embeddings=embeddings), embedder.model, job_id)
    return Progress([file.path for file in files], chunks=sum(len(file.chunks) for file in files))


def digest(content: str) -> str:
    """Return what tells whether a file has changed since it was indexed."""
    return hashlib.sha256(f"{CHUNKING_VERSION}\n{content}".encode(errors="replace")).hexdigest()
