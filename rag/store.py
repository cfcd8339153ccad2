"""Writes files into the index: each in one transaction, so that a search sees the old file or the new one."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import connection, transaction

from rag import vectors, words
from rag.chunking import Piece
from rag.models import Chunk, File, Repository, Vector

# Chunks and their vectors in one statement, whatever their number.
WRITE = """
    WITH piece AS (
        SELECT * FROM unnest(
            %(symbols)s::text[], %(signatures)s::text[], %(starts)s::int[], %(ends)s::int[], %(contents)s::text[],
            %(symbol_words)s::text[], %(content_words)s::text[], %(embeddings)s::text[]
        ) WITH ORDINALITY
            AS piece (symbol, signature, start_line, end_line, content, symbol_words, content_words, embedding, n)
    ),
    chunk AS (
        INSERT INTO rag_chunk
            (repository_id, file_id, position, symbol, signature, start_line, end_line, content, terms)
        SELECT %(repository)s, %(file)s, n - 1, symbol, signature, start_line, end_line, content,
            rag_terms(%(repository)s, symbol_words, %(path_words)s, content_words)
        FROM piece
        RETURNING id, position
    )
    INSERT INTO rag_vector (repository_id, chunk_id, model, embedding)
    SELECT %(repository)s, chunk.id, %(model)s, embedding::halfvec FROM chunk JOIN piece ON n - 1 = position
"""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A file that is ready to be written.

    Args:
        embeddings: one vector a piece.
    """

    path: str
    digest: str
    language: str
    pieces: Sequence[Piece]
    embeddings: Sequence[Sequence[float]] = ()


@transaction.atomic
def replace(repository: Repository, file: Prepared, model: str) -> None:
    """Put a file in the place of what the index had of it."""
    fields = {
        "digest": file.digest,
        "language": file.language,
        "chunks": len(file.pieces),
        "indexed_at": datetime.now(UTC),
    }
    row, _ = File.objects.update_or_create(repository=repository, path=file.path, defaults=fields)
    Chunk.objects.filter(file=row).delete()
    if file.pieces:
        with connection.cursor() as cursor:
            cursor.execute(WRITE, _values(repository, row, file, model))


def remove(repository: Repository, paths: Iterable[str]) -> int:
    """Take files out of the index.

    Returns:
        How many were in it.
    """
    return File.objects.filter(repository=repository, path__in=list(paths)).delete()[0]


def digests(repository: Repository, paths: Iterable[str]) -> dict[str, tuple[str, int]]:
    """Digest and number of chunks of the files that are in the index, by path."""
    rows = File.objects.filter(repository=repository, path__in=list(paths))
    return {path: (digest, chunks) for path, digest, chunks in rows.values_list("path", "digest", "chunks")}


def add_vectors(repository: Repository, model: str, embeddings: dict[int, Sequence[float]]) -> None:
    """Give chunks the vectors of a further model; chunks that have gone meanwhile are passed over.

    Args:
        embeddings: by the chunk's id.
    """
    values: dict[str, Any] = {
        "ids": list(embeddings),
        "embeddings": [vectors.literal(vector) for vector in embeddings.values()],
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
def switch(repository: Repository, model: str) -> None:
    """Search a repository by another model's vectors from now on, and drop the old ones."""
    Repository.objects.filter(pk=repository.pk).update(model=model)
    Vector.objects.filter(repository=repository).exclude(model=model).delete()
    repository.model = model


def _values(repository: Repository, row: File, file: Prepared, model: str) -> dict[str, Any]:
    pieces = file.pieces
    return {
        "repository": repository.pk,
        "file": row.pk,
        "model": model,
        "path_words": words.searchable(file.path),
        "symbols": [piece.symbol for piece in pieces],
        "signatures": [piece.signature for piece in pieces],
        "starts": [piece.start_line for piece in pieces],
        "ends": [piece.end_line for piece in pieces],
        "contents": [piece.content for piece in pieces],
        "symbol_words": [words.searchable(piece.symbol) for piece in pieces],
        "content_words": [words.searchable(piece.content) for piece in pieces],
        "embeddings": [vectors.literal(vector) for vector in file.embeddings],
    }
