"""Turns files into chunks and vectors: only what has changed, several files' chunks in one request to the model."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from uuid import UUID

from rag.chunking import grammars, pool
from rag.chunking.chunker import Piece
from rag.indexing import sizes, skip_rules, store
from rag.indexing.store import Prepared
from rag.models import Repository
from rag.search import vectors, words
from rag.search.embeddings import Embedder

CUT = 4  # of the way files are cut and described; a new number has all files indexed anew
FILES_AT_ONCE = 100  # whose digests are looked up together
CHARACTERS_AT_ONCE = 2_000_000  # in memory
CHUNKS_AT_ONCE = 64  # written together
# Chunks in one request to the model, two texts each: few, since somebody's search may wait behind them.
CHUNKS_A_REQUEST = 8
# Room that a piece leaves in the model's window, for what its tokenizer adds.
MARGIN_TOKENS = 8
# The longest piece, in tokens: models of long windows blur what is long.
LONGEST_PIECE = 1_000
# Of code, the model reads so many characters: what a function is for shows at its beginning. Words are found anywhere.
OPENING = 500
PROSE = {grammars.TEXT, "markdown"}  # read whole


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


Report = Callable[[Progress], None]


def index(
    repository: Repository,
    files: Iterable[SourceFile],
    embedder: Embedder,
    report: Report,
    before: Callable[[], None] = lambda: None,
    job_id: UUID | None = None,
) -> None:
    """Bring files into the index; each is in it, whole, when it is reported.

    Args:
        report: called every now and then with what has been done since the last call.
        before: called before each batch, each file and each request to the model; what it raises breaks off.
        job_id: whose uploads the files are.

    Raises:
        EmbeddingsUnavailable, EmbeddingsFailed: what was reported is in the index.
    """
    waiting: list[Prepared] = []
    for batch in _batches(files):
        before()
        progress, changed = _sort(repository, batch)
        report(progress)
        for file in changed:
            before()
            waiting.append(_prepare(file, embedder.window))
            if sum(len(each.pieces) for each in waiting) >= CHUNKS_AT_ONCE:
                report(_write(repository, waiting, embedder, before, job_id))
                waiting = []
    if waiting:
        report(_write(repository, waiting, embedder, before, job_id))


def judge(file: SourceFile) -> SourceFile:
    """The file, or why it is left out."""
    if file.content is None or (reason := skip_rules.reason(file.path, file.content)) is None:
        return file
    return SourceFile(file.path, None, reason)


def embed(
    embedder: Embedder, paths_and_pieces: Sequence[tuple[str, Piece]], before: Callable[[], None] = lambda: None
) -> list[list[float]]:
    """A vector for each piece: the direction between its code and its description in plain words.

    Measured on 2 400 functions (docs/performance.md), this finds more than either, and more than one text of both.
    Of code only the beginning is read: that finds as much, and costs a third less.
    """
    found: list[list[float]] = []
    for start in range(0, len(paths_and_pieces), CHUNKS_A_REQUEST):
        before()
        part = paths_and_pieces[start : start + CHUNKS_A_REQUEST]
        described = [words.description(path, piece.symbol, piece.signature) for path, piece in part]
        embedded = embedder.embed([_read(path, piece) for path, piece in part] + described)
        found += map(vectors.blend, embedded[: len(part)], embedded[len(part) :])
    return found


def _read(path: str, piece: Piece) -> str:
    return piece.content if grammars.of(path) in PROSE else piece.content[:OPENING]


def _batches(files: Iterable[SourceFile]) -> Iterator[list[SourceFile]]:
    """So many that looking them up together pays, so few that memory stays bounded."""
    batch, characters = list[SourceFile](), 0
    for file in files:
        batch.append(file)
        characters += len(file.content or "")
        if len(batch) == FILES_AT_ONCE or characters >= CHARACTERS_AT_ONCE:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _sort(repository: Repository, batch: Sequence[SourceFile]) -> tuple[Progress, list[SourceFile]]:
    """What is to be left out, what has not changed, and the rest. What is left out now is not found any more."""
    progress, changed = Progress(), []
    known = store.digests(repository, [file.path for file in batch])
    for file in batch:
        if reason := judge(file).reason:
            progress.skipped.append((file.path, reason))
        elif known.get(file.path, ("", 0))[0] == digest(file.content or ""):
            progress.unchanged += 1
            progress.chunks += known[file.path][1]
        else:
            changed.append(file)
            continue
        progress.paths.append(file.path)
    store.remove(repository, [path for path, _ in progress.skipped if path in known])
    return progress, changed


def _prepare(file: SourceFile, window: int) -> Prepared:
    content, language = file.content or "", grammars.of(file.path)
    pieces = pool.cut(language, min(window, LONGEST_PIECE) - MARGIN_TOKENS, content)
    return Prepared(file.path, digest(content), language, sizes.of(file.path, content), pieces)


def _write(
    repository: Repository,
    files: Sequence[Prepared],
    embedder: Embedder,
    before: Callable[[], None],
    job_id: UUID | None,
) -> Progress:
    embedded = iter(embed(embedder, [(file.path, piece) for file in files for piece in file.pieces], before))
    for file in files:
        embeddings = list(islice(embedded, len(file.pieces)))
        store.replace(repository, replace(file, embeddings=embeddings), embedder.model, job_id)
    return Progress([file.path for file in files], chunks=sum(len(file.pieces) for file in files))


def digest(content: str) -> str:
    """Return what tells whether a file has changed since it was indexed."""
    return hashlib.sha256(f"{CUT}\n{content}".encode(errors="replace")).hexdigest()
