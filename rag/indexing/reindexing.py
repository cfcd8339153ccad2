"""Move a repository to another embedding model while searches use the old vectors."""

from collections.abc import Callable, Iterator

from django.conf import settings

from rag.chunking.chunker import SourceChunk
from rag.indexing import indexer, jobs, store
from rag.indexing.indexer import Progress
from rag.models import Chunk, IndexJob, Repository, Vector
from rag.search import embeddings, vectors

BATCH_CHUNKS = 128


def reindex(
    job: IndexJob, checkpoint: Callable[[], None] = lambda: None, on_write: Callable[[], None] = lambda: None
) -> None:
    """Embed a repository's chunks with the configured model, then switch searches to it.

    Raises:
        EmbeddingsUnavailable, EmbeddingsFailed: the repository stays on the old model.
    """
    # Vectors of an earlier attempt are kept: only chunks without a vector of the new model are embedded. `checkpoint`
    # is called before each request to the model, `on_write` after each write of vectors.
    repository, old = job.repository, job.repository.model
    embedder = embeddings.current_embedder(retries=embeddings.BACKGROUND_RETRIES)
    vectors.ensure_index(embedder.model, settings.EMBEDDINGS_DIMENSION)
    for batch in _chunks_without_vector(repository, embedder.model):
        embedded = indexer.embed_chunks(embedder, [(path, chunk) for _, path, chunk in batch], checkpoint)
        store.add_vectors(repository, embedder.model, dict(zip([pk for pk, *_ in batch], embedded, strict=True)))
        jobs.record_progress(job, Progress(chunks=len(batch)))
        on_write()
    store.switch_model(repository, embedder.model)
    if not Repository.objects.filter(model=old).exists():
        vectors.drop_index(old)


def _chunks_without_vector(repository: Repository, model: str) -> Iterator[list[tuple[int, str, SourceChunk]]]:
    # Yield batches of id, path and chunk for chunks without a vector of the model.
    done = Vector.objects.filter(repository=repository, model=model).values("chunk_id")
    chunks = Chunk.objects.filter(repository=repository).exclude(pk__in=done).select_related("file").order_by("pk")
    last = 0
    while batch := list(chunks.filter(pk__gt=last)[:BATCH_CHUNKS]):
        last = batch[-1].pk
        yield [(chunk.pk, chunk.file.path, _source_chunk(chunk)) for chunk in batch]


def _source_chunk(chunk: Chunk) -> SourceChunk:
    return SourceChunk(chunk.content, chunk.symbol, chunk.signature, chunk.start_line, chunk.end_line)
