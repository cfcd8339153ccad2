"""Vectors in PostgreSQL, with one approximate index (HNSW) a model."""

import hashlib
from collections.abc import Sequence
from math import sqrt

from django.db import connection
from psycopg import sql

from lunaos.infra import locks
from lunaos.infra.postgresql import limits

# Measured (docs/performance.md): pgvector's defaults, 16 and 64, lose 5 % of the best ten.
HNSW_M, HNSW_EF_CONSTRUCTION = 16, 128


def to_literal(vector: Sequence[float]) -> str:
    """Return a vector in pgvector's text format."""
    # Half precision keeps 11 bits, so five digits are enough.
    return "[" + ",".join(f"{value:.5g}" for value in vector) + "]"


def blend(*vectors: Sequence[float]) -> list[float]:
    """Return the normalized mean of the normalized vectors."""
    units = [_unit(vector) for vector in vectors]
    return _unit([sum(values) for values in zip(*units, strict=True)])


def _unit(vector: Sequence[float]) -> list[float]:
    length = sqrt(sum(value * value for value in vector)) or 1.0
    return [value / length for value in vector]


def index_name(model: str) -> str:
    """Return the name of a model's index."""
    return f"rag_hnsw_{hashlib.sha256(model.encode()).hexdigest()[:12]}"


def ensure_index(model: str, dimension: int) -> None:
    """Create a model's index if it is missing, without blocking writers."""
    # Not in a transaction.
    # If another process is creating the index, return at once: searches work without the index, and PostgreSQL would
    # treat two waiting creations as a deadlock.
    name = index_name(model)
    if _is_valid(name):
        return
    with locks.try_lock("rag.vectors", 0) as acquired:
        if acquired and not _is_valid(name):  # an interrupted creation leaves an invalid index
            with limits.within(limits.NONE), connection.cursor() as cursor:  # millions of vectors take long
                cursor.execute(sql.SQL("DROP INDEX IF EXISTS {}").format(sql.Identifier(name)))
                cursor.execute(_create_index_sql(name, model, dimension))


def drop_index(model: str) -> None:
    """Drop the index of a model that no repository uses any more."""
    with limits.within(limits.NONE), connection.cursor() as cursor:
        cursor.execute(sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(sql.Identifier(index_name(model))))


def _is_valid(name: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_index WHERE indexrelid = to_regclass(%s) AND indisvalid", [name])
        return cursor.fetchone() is not None


def _create_index_sql(name: str, model: str, dimension: int) -> sql.Composed:
    return sql.SQL(
        "CREATE INDEX CONCURRENTLY {name} ON rag_vector "
        "USING hnsw ((embedding::halfvec({dimension})) halfvec_cosine_ops) "
        "WITH (m = {links}, ef_construction = {construction}) WHERE model = {model}"
    ).format(
        name=sql.Identifier(name),
        dimension=sql.Literal(dimension),
        links=sql.Literal(HNSW_M),
        construction=sql.Literal(HNSW_EF_CONSTRUCTION),
        model=sql.Literal(model),
    )
