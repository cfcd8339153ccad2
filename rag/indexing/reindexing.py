"""Moves a repository to another embedding model, while searches go on with the old one's vectors."""

from collections.abc import Callable, Iterator

from django.conf import settings

from rag.chunking.chunker import Piece
from rag.indexing import indexer, jobs, store
from rag.indexing.indexer import Progress
from rag.models import Chunk, IndexJob, Repository, Vector
from rag.search import embeddings, vectors

CHUNKS_AT_ONCE = 128
PATIENT_RETRIES = 6


def reindex(job: IndexJob, before: Callable[[], None] = lambda: None, after: Callable[[], None] = lambda: None) -> None:
    """Embed all of a repository's chunks with today's model, then search by that.

    What an earlier attempt has done is kept: only chunks without a vector of the new model are embedded.

    Args:
        before: called before each request to the model.
        after: called when vectors have been written.

    Raises:
        EmbeddingsUnavailable, EmbeddingsFailed: the repository stays on the old model.
    """
    repository, old = job.repository, job.repository.model
    embedder = embeddings.current(retries=PATIENT_RETRIES)
    vectors.ensure_index(embedder.model, settings.EMBEDDINGS_DIMENSION)
    for batch in _without(repository, embedder.model):
        embedded = indexer.embed(embedder, [(path, piece) for _, path, piece in batch], before)
        store.add_vectors(repository, embedder.model, dict(zip([pk for pk, *_ in batch], embedded, strict=True)))
        jobs.report(job, Progress(chunks=len(batch)))
        after()
    store.switch(repository, embedder.model)
    if not Repository.objects.filter(model=old).exists():
        vectors.drop_index(old)


def _without(repository: Repository, model: str) -> Iterator[list[tuple[int, str, Piece]]]:
    """Chunks that have no vector of a model yet, with their file's path."""
    done = Vector.objects.filter(repository=repository, model=model).values("chunk_id")
    chunks = Chunk.objects.filter(repository=repository).exclude(pk__in=done).select_related("file").order_by("pk")
    last = 0
    while batch := list(chunks.filter(pk__gt=last)[:CHUNKS_AT_ONCE]):
        last = batch[-1].pk
        yield [(chunk.pk, chunk.file.path, _piece(chunk)) for chunk in batch]


def _piece(chunk: Chunk) -> Piece:
    return Piece(chunk.content, chunk.symbol, chunk.signature, chunk.start_line, chunk.end_line)
