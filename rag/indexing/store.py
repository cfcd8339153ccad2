"""Write files into the index, one transaction a file."""

# A search sees the old version of a file or the new one, never a mixture.

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import IntegrityError, connection, transaction
from django.db.models import F, Sum

from rag.chunking.chunker import SourceChunk
from rag.models import Chunk, File, Repository, Upload, Vector
from rag.search import vectors, words

# Inserts a file's chunks and vectors in one statement, whatever their number.
INSERT_CHUNKS = """
    WITH new_chunk AS (
        SELECT * FROM unnest(
            %(symbols)s::text[], %(signatures)s::text[], %(starts)s::int[], %(ends)s::int[], %(contents)s::text[],
            %(symbol_words)s::text[], %(content_words)s::text[], %(embeddings)s::text[]
        ) WITH ORDINALITY
            AS new_chunk (symbol, signature, start_line, end_line, content, symbol_words, content_words, embedding, n)
    ),
    chunk AS (
        INSERT INTO rag_chunk
            (repository_id, file_id, position, symbol, signature, start_line, end_line, content, terms)
        SELECT %(repository)s, %(file)s, n - 1, symbol, signature, start_line, end_line, content,
            rag_terms(%(repository)s, symbol_words, %(path_words)s, content_words)
        FROM new_chunk
        RETURNING id, position
    )
    INSERT INTO rag_vector (repository_id, chunk_id, model, embedding)
    SELECT %(repository)s, chunk.id, %(model)s, embedding::halfvec FROM chunk JOIN new_chunk ON n - 1 = position
"""
# The lock that a foreign key takes, but before the first insert: taken later, it would deadlock with a deletion.
LOCK_KEY_SHARE = "SELECT id FROM rag_repository WHERE id = %s FOR KEY SHARE"
DELETE_FILES = "DELETE FROM rag_file WHERE repository_id = %s AND path = ANY(%s) RETURNING COALESCE(bytes, 0)"


@dataclass(frozen=True, slots=True)
class PreparedFile:
    """A file with its chunks, ready to be written."""

    # `bytes`: size from `sizes.file_bytes`.

    path: str
    digest: str
    language: str
    bytes: int
    chunks: Sequence[SourceChunk]
    embeddings: Sequence[Sequence[float]] = ()


@transaction.atomic
def replace_file(repository: Repository, file: PreparedFile, model: str, job_id: UUID | None = None) -> None:
    """Replace a file's rows, chunks and vectors."""
    # The bytes of the job's upload become 0 in the same transaction, so that the file never counts twice.
    stored = File.objects.select_for_update().filter(repository=repository, path=file.path)
    before = stored.values_list("bytes", flat=True).first() or 0
    fields = {
        "digest": file.digest,
        "language": file.language,
        "chunks": len(file.chunks),
        "bytes": file.bytes,
        "measured_digest": file.digest,
        "indexed_at": datetime.now(UTC),
    }
    row, _ = File.objects.update_or_create(repository=repository, path=file.path, defaults=fields)
    Chunk.objects.filter(file=row).delete()
    if file.chunks:
        with connection.cursor() as cursor:
            cursor.execute(INSERT_CHUNKS, _parameters(repository, row, file, model))
    _add_bytes(repository, file.bytes - before)
    if job_id:
        Upload.objects.filter(job_id=job_id, path=file.path).update(bytes=0, growth=0)


def lock_against_deletion(repository: Repository) -> None:
    """Prevent the deletion of a repository until the end of the transaction.

    Raises:
        IntegrityError: the repository was deleted.
    """
    with connection.cursor() as cursor:
        if not cursor.execute(LOCK_KEY_SHARE, [repository.pk]).fetchone():
            raise IntegrityError(f"The repository {repository.pk} was deleted.")


@transaction.atomic
def remove_files(repository: Repository, paths: Iterable[str]) -> int:
    """Remove files from the index and return their number."""
    with connection.cursor() as cursor:
        rows = cursor.execute(DELETE_FILES, [repository.pk, list(paths)]).fetchall()
    _add_bytes(repository, -sum(row[0] for row in rows))
    return len(rows)


@transaction.atomic
def recount_bytes(repository_id: int) -> None:
    """Set a repository's counter of bytes to the sum of its files."""
    # A concurrent write of a file waits for this lock with its difference, and adds the difference to the new sum.
    if Repository.objects.select_for_update(no_key=True).filter(pk=repository_id).exists():
        total = File.objects.filter(repository_id=repository_id).aggregate(total=Sum("bytes"))["total"]
        Repository.objects.filter(pk=repository_id).update(bytes=total or 0)


def _add_bytes(repository: Repository, bytes_more: int) -> None:
    # Add to the counter; call it last, since other writers of the repository wait from here.
    if bytes_more:
        Repository.objects.filter(pk=repository.pk).update(bytes=F("bytes") + bytes_more)


def digests_and_chunk_counts(repository: Repository, paths: Iterable[str]) -> dict[str, tuple[str, int]]:
    """Return digest and number of chunks of indexed files, by path."""
    rows = File.objects.filter(repository=repository, path__in=list(paths))
    return {path: (digest, chunks) for path, digest, chunks in rows.values_list("path", "digest", "chunks")}


def digests_and_bytes(repository: Repository, paths: Iterable[str]) -> dict[str, tuple[str, int]]:
    """Return digest and bytes of indexed files, by path; 0 bytes if not measured yet."""
    rows = File.objects.filter(repository=repository, path__in=list(paths))
    return {path: (digest, size or 0) for path, digest, size in rows.values_list("path", "digest", "bytes")}


def add_vectors(repository: Repository, model: str, embeddings: dict[int, Sequence[float]]) -> None:
    """Add another model's vectors, by chunk id; chunks deleted meanwhile are skipped."""
    values: dict[str, Any] = {
        "ids": list(embeddings),
        "embeddings": [vectors.to_literal(vector) for vector in embeddings.values()],
        "repository": repository.pk,
        "model": model,
    }
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO rag_vector (repository_id, chunk_id, model, embedding) "
            "SELECT %(repository)s, chunk.id, %(model)s, new.embedding::halfvec "
            "FROM unnest(%(ids)s::bigint[], %(embeddings)s::text[]) AS new (id, embedding) "
            "JOIN rag_chunk chunk ON chunk.id = new.id ON CONFLICT DO NOTHING",
            values,
        )


@transaction.atomic
def switch_model(repository: Repository, model: str) -> None:
    """Search a repository by another model's vectors, and delete the old ones."""
    Repository.objects.filter(pk=repository.pk).update(model=model)
    Vector.objects.filter(repository=repository).exclude(model=model).delete()
    repository.model = model


def _parameters(repository: Repository, row: File, file: PreparedFile, model: str) -> dict[str, Any]:
    chunks = file.chunks
    return {
        "repository": repository.pk,
        "file": row.pk,
        "model": model,
        "path_words": words.searchable_text(file.path),
        "symbols": [chunk.symbol for chunk in chunks],
        "signatures": [chunk.signature for chunk in chunks],
        "starts": [chunk.start_line for chunk in chunks],
        "ends": [chunk.end_line for chunk in chunks],
        "contents": [chunk.content for chunk in chunks],
        "symbol_words": [words.searchable_text(chunk.symbol) for chunk in chunks],
        "content_words": [words.searchable_text(chunk.content) for chunk in chunks],
        "embeddings": [vectors.to_literal(vector) for vector in file.embeddings],
    }
