"""Turn changed files into chunks and vectors, and write them into the index."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from uuid import UUID

from rag.chunking import grammars, pool
from rag.chunking.chunker import SourceChunk
from rag.indexing import excerpts, sizes, skip_rules, store
from rag.indexing.store import PreparedFile
from rag.models import Repository
from rag.search import vectors, words
from rag.search.embeddings import Embedder

# Part of each file's digest: a higher number makes every file count as changed. Raise it when the chunks of unchanged
# files, their search terms or the texts embedded for them change; rag/tests/test_chunking_version.py fails otherwise.
CHUNKING_VERSION = 4
BATCH_FILES = 100  # one query reads the digests of a batch
BATCH_CHARACTERS = 2_000_000  # bounds the memory of a batch
WRITE_BATCH_CHUNKS = 64
# Two texts a chunk. Few, since a search may wait behind the request.
CHUNKS_PER_REQUEST = 8
# Left free in the model's window for the tokens that its tokenizer adds.
MARGIN_TOKENS = 8
# Models with long windows blur the meaning of long texts.
MAX_CHUNK_TOKENS = 1_000
# The purpose of a function shows at its beginning; full text search covers the rest.
MAX_CODE_CHARACTERS = 500
PROSE_LANGUAGES = {grammars.TEXT, "markdown"}  # embedded in full


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to index."""

    # `content`: None for a file that was skipped unread. `reason`: why the file is skipped; None for a file to index.

    path: str
    content: str | None
    reason: str | None = None


@dataclass(slots=True)
class Progress:
    """The files done since the last report."""

    # `paths`: of all files done, unchanged and skipped ones included.

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
    """Bring files into the index; a reported file is in the index completely.

    Raises:
        EmbeddingsUnavailable, EmbeddingsFailed: reported files stay in the index.
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


def apply_skip_rules(file: SourceFile, *, force: bool = False) -> SourceFile:
    """Return what is indexed of the file, or its path with the reason for skipping it."""
    # `force` indexes what a generator or a minifier wrote, and nothing else.
    if file.content is None:
        return file
    content = excerpts.without_blobs(file.content)
    reason = skip_rules.skip_reason(file.path, content)
    if reason is None or (force and reason in skip_rules.FORCEABLE):
        return replace(file, content=excerpts.excerpt(file.path, content))
    return SourceFile(file.path, None, reason)


def embed_chunks(
    embedder: Embedder,
    paths_and_chunks: Sequence[tuple[str, SourceChunk]],
    checkpoint: Callable[[], None] = lambda: None,
) -> list[list[float]]:
    """Return one vector a chunk, halfway between its content and its description."""
    # Measured on 2 400 functions (docs/performance.md), this vector finds more than the vector of either text, and
    # more than the vector of one text that joins both.
    found: list[list[float]] = []
    for start in range(0, len(paths_and_chunks), CHUNKS_PER_REQUEST):
        checkpoint()
        texts = [embedding_texts(path, chunk) for path, chunk in paths_and_chunks[start : start + CHUNKS_PER_REQUEST]]
        embedded = embedder.embed([content for content, _ in texts] + [description for _, description in texts])
        found += map(vectors.blend, embedded[: len(texts)], embedded[len(texts) :])
    return found


def embedding_texts(path: str, chunk: SourceChunk) -> tuple[str, str]:
    """Return the two texts embedded for a chunk: its content and its description."""
    # The content of code is truncated: that finds as much as all of it, and costs a third less.
    is_prose = grammars.language_of(path) in PROSE_LANGUAGES
    content = chunk.content if is_prose else chunk.content[:MAX_CODE_CHARACTERS]
    return content, words.describe(path, chunk.symbol, chunk.signature)


def chunk_tokens(window: int) -> int:
    """Return the maximum length of a chunk in tokens, for a model's window."""
    return min(window, MAX_CHUNK_TOKENS) - MARGIN_TOKENS


def digest(content: str) -> str:
    """Return the hash that tells whether a file must be indexed again."""
    return hashlib.sha256(f"{CHUNKING_VERSION}\n{content}".encode(errors="replace")).hexdigest()


def _batches(files: Iterable[SourceFile]) -> Iterator[list[SourceFile]]:
    # Large enough that one query reads many digests, small enough for the memory.
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
    # Report skipped and unchanged files and return the changed ones; skipped files leave the index. The rules were
    # applied where the files came in.
    progress, changed = Progress(), []
    known = store.digests_and_chunk_counts(repository, [file.path for file in batch])
    for file in batch:
        if file.reason:
            progress.skipped.append((file.path, file.reason))
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
    chunks = pool.chunk_file(language, chunk_tokens(window), content)
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
