"""Hybrid search: vector similarity (pgvector) and full text search, in one score."""

# The score is `(similarity + TEXT_WEIGHT * words) / (1 + TEXT_WEIGHT)`. `similarity` is the cosine of query and
# chunk. `words` is the weight of the query's words in the chunk, relative to the best chunk; rare words weigh most.
# docs/performance.md has the measurements.

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log

from django.db import connection, transaction
from psycopg import sql

from rag.models import Repository, Term
from rag.search import embeddings, vectors, words
from rag.search.embeddings import Embedder

TEXT_WEIGHT = 0.2
MAX_DENSE_CANDIDATES = 100
EF_SEARCH = 120  # hnsw.ef_search of pgvector: a few more than MAX_DENSE_CANDIDATES
# In smaller repositories a comparison with every chunk is faster than the index, and exact.
EXACT_BELOW_CHUNKS = 20_000
# Found by the rarest words of a query; common words only add to the weight of these chunks.
MAX_TEXT_CANDIDATES = 300
MAX_QUERY_WORDS = 32  # the rarest ones
MAX_SHARED_WORDS = 0.8  # Jaccard index; two chunks above it are duplicates
FIELD_WEIGHTS = "{0.6, 0.6, 0.8, 1.0}"  # of content (D), nothing (C), path (B), symbol (A)
# A long chunk has more words by chance: BM25's length normalization, with b = 0.3.
MIN_LENGTH_FACTOR, AVERAGE_WORDS = 0.7, 50

Row = tuple[int, str, str, str, int, int, str, float, float]

SETTINGS = f"""
    SET LOCAL hnsw.ef_search = {EF_SEARCH}; SET LOCAL hnsw.iterative_scan = relaxed_order; SET LOCAL jit = off
"""
LEXEMES = "SELECT lexeme FROM unnest(to_tsvector('english', %s))"
CANDIDATES = """
    WITH dense AS MATERIALIZED (
        SELECT chunk_id FROM rag_vector WHERE model = {model} AND repository_id = {repository}
        ORDER BY {distance} LIMIT {dense}
    ),
    word AS MATERIALIZED (
        SELECT lexeme, weight FROM unnest(%(lexemes)s::tsquery[], %(weights)s::float[]) AS word (lexeme, weight)
    ),
    textual AS MATERIALIZED (
        SELECT id FROM rag_chunk WHERE repository_id = {repository} AND terms @@ %(rare)s::tsquery LIMIT {scanned}
    )
    SELECT chunk.position, file.path, chunk.symbol, file.language, chunk.start_line, chunk.end_line, chunk.content,
        1 - (embedding::halfvec({dimension}) <=> {query}::halfvec({dimension})),
        COALESCE((SELECT sum(weight * ts_rank({fields}, terms, lexeme)) FROM word WHERE terms @@ lexeme), 0)
            / ({short} + (1 - {short}) * length(terms) / {average})
    FROM (SELECT chunk_id FROM dense UNION SELECT id FROM textual) AS candidate
    JOIN rag_chunk chunk ON chunk.id = chunk_id
    JOIN rag_vector vector ON vector.chunk_id = chunk.id AND model = {model}
    JOIN rag_file file ON file.id = chunk.file_id
"""


@dataclass(frozen=True, slots=True)
class Hit:
    """A search result."""

    # `chunk`: position of the chunk in the file, from 0. `start_line`: counted from 1. `end_line`: last line,
    # included. `score`: 0 to 1.

    chunk: int
    path: str
    symbol: str
    language: str
    start_line: int
    end_line: int
    content: str
    score: float


def search(repository: Repository, query: str, limit: int) -> list[Hit]:
    """Return the best chunks, best first, without near-duplicates within a file.

    Raises:
        EmbeddingsNotConfigured, EmbeddingsUnavailable, EmbeddingsFailed: the query cannot be embedded.
    """
    embedder = embeddings.embedder_for(repository.model)
    hits = sorted(
        _fuse(_candidates(repository, embedder, query, embed_query(embedder, query))), key=lambda hit: -hit.score
    )
    return _drop_duplicates(hits, limit)


def embed_query(embedder: Embedder, query: str) -> list[float]:
    """Return a query's vector: halfway between the query and a name that the code may have.

    Raises:
        EmbeddingsNotConfigured, EmbeddingsUnavailable, EmbeddingsFailed: the query cannot be embedded.
    """
    texts = [query, name] if (name := words.as_identifier(query)) else [query]
    return vectors.blend(*embedder.embed(texts))


@transaction.atomic
def _candidates(
    repository: Repository, embedder: Embedder, query: str, vector: Sequence[float]
) -> list[tuple[Hit, float, float]]:
    # Return chunks with a near vector or with rare words, each with similarity and word weight.
    weights, rare = _weigh_words(repository, query)
    parameters: dict[str, list[str] | list[float] | str] = {
        "lexemes": [_quote_lexeme(repository, lexeme) for lexeme in weights],
        "weights": list(weights.values()),
        "rare": " | ".join(_quote_lexeme(repository, lexeme) for lexeme in rare),
    }
    with connection.cursor() as cursor:
        # By default pgvector's index stops after ef_search entries, even if the filter removed most of them.
        cursor.execute(SETTINGS)
        cursor.execute(_candidates_sql(repository, embedder, vector), parameters)
        rows: list[Row] = cursor.fetchall()
    return [(Hit(*row[:7], 0.0), row[7], row[8]) for row in rows]


def _weigh_words(repository: Repository, query: str) -> tuple[dict[str, float], list[str]]:
    # Return the weights of the query's words, rarest first, and the words to find chunks by.
    # The weight is BM25's inverse document frequency (Robertson and Zaragoza 2009, 3.1).
    with connection.cursor() as cursor:
        cursor.execute(LEXEMES, [words.searchable_text(query)])
        lexemes = [row[0] for row in cursor.fetchall()]
    known = Term.objects.filter(repository=repository, word__in=[f"{repository.pk}:{lexeme}" for lexeme in lexemes])
    counts = {word.partition(":")[2]: chunks for word, chunks in known.values_list("word", "chunks")}
    rarest = sorted(lexemes, key=lambda lexeme: counts.get(lexeme, 0))[:MAX_QUERY_WORDS]
    total = max([repository.chunks, *counts.values()])
    weights = {each: log(1 + (total - (n := counts.get(each, 0)) + 0.5) / (n + 0.5)) for each in rarest}
    room, rare = MAX_TEXT_CANDIDATES, list[str]()
    for lexeme in rarest:
        room -= counts.get(lexeme, 0)
        if room < 0:
            break
        rare.append(lexeme)
    return weights, rare


def _quote_lexeme(repository: Repository, lexeme: str) -> str:
    # Lexemes from rag.search.words have nothing to escape.
    return f"'{repository.pk}:{lexeme}'"


def _candidates_sql(repository: Repository, embedder: Embedder, vector: Sequence[float]) -> sql.Composed:
    # PostgreSQL finds the index only if model and dimension are literals.
    query, dimension = sql.Literal(vectors.to_literal(vector)), sql.Literal(len(vector))
    distance = sql.SQL("embedding::halfvec({}) <=> {}::halfvec({})").format(dimension, query, dimension)
    if repository.chunks < EXACT_BELOW_CHUNKS:
        distance = sql.SQL("({}) + 0").format(distance)  # an expression that no index matches
    return sql.SQL(CANDIDATES).format(
        model=sql.Literal(embedder.model),
        repository=sql.Literal(repository.pk),
        distance=distance,
        dense=sql.Literal(MAX_DENSE_CANDIDATES),
        scanned=sql.Literal(MAX_TEXT_CANDIDATES),
        dimension=dimension,
        query=query,
        fields=sql.Literal(FIELD_WEIGHTS),
        short=sql.Literal(MIN_LENGTH_FACTOR),
        average=sql.Literal(AVERAGE_WORDS),
    )


def _fuse(candidates: list[tuple[Hit, float, float]]) -> list[Hit]:
    best = max((weight for _, _, weight in candidates), default=0.0) or 1.0
    scores = [
        (max(0.0, similarity) + TEXT_WEIGHT * weight / best) / (1 + TEXT_WEIGHT) for _, similarity, weight in candidates
    ]
    return [replace(hit, score=min(1.0, score)) for (hit, _, _), score in zip(candidates, scores, strict=True)]


def _drop_duplicates(hits: list[Hit], limit: int) -> list[Hit]:
    kept: list[tuple[Hit, set[str]]] = []
    for hit in hits:
        if len(kept) == limit:
            break
        bag = set(words.split_words(hit.content))
        if not any(hit.path == other.path and _are_duplicates(bag, others) for other, others in kept):
            kept.append((hit, bag))
    return [hit for hit, _ in kept]


def _are_duplicates(one: set[str], other: set[str]) -> bool:
    return len(one & other) > MAX_SHARED_WORDS * len(one | other)
