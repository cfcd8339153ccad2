"""Benchmark of search in the database with 100 000 chunks: time and recall.

Two owners share the table, one with 90 % of it and one with 1 %, beside others. Real vectors cannot be made in such
numbers within minutes, so each is a mixture of two real chunks' vectors and some noise: near others as real ones are.

usage: python -m lunaos.embedded run --llm -- python benchmarks/search.py [--chunks 100000] [--source FOLDER]
"""

import argparse
import io
import os
import random
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "lunaos.settings")
import django

django.setup()
import numpy as np
from django.core.management import call_command
from django.db import connection

from accounts.models import User
from rag.chunking.chunker import SourceChunk
from rag.indexing import folders, indexer
from rag.models import Repository, Vector
from rag.search import embeddings, search, terms, vectors

SHARES = {"large": 0.90, "small": 0.01, "others": 0.09}
SEEDS, NOISE, DEEP = 1_500, 0.35, 10
QUERIES = 300
COPY = "COPY rag_vector (repository_id, chunk_id, model, embedding) FROM STDIN"
CHUNKS = """
    INSERT INTO rag_chunk (repository_id, file_id, position, symbol, signature, start_line, end_line, content, terms)
    SELECT %(repository)s, %(file)s, n, symbol, '', 1, 9, content,
        rag_terms(%(repository)s, symbol_words, '', content_words)
    FROM unnest(%(positions)s::int[], %(symbols)s::text[], %(contents)s::text[],
        %(symbol_words)s::text[], %(content_words)s::text[]) AS seed (n, symbol, content, symbol_words, content_words)
    RETURNING id
"""


def seeds(source: Path) -> tuple[list[SourceChunk], np.ndarray]:
    """Return real chunks and their vectors."""
    chunks: list[tuple[str, SourceChunk]] = []
    for file in folders.read_files(source, [path for path in folders.walk(source) if path.endswith(".py")]):
        if file.content and not indexer.apply_skip_rules(file).reason:
            prepared = indexer._chunk_file(file, embeddings.current_embedder().window)
            chunks += [(file.path, chunk) for chunk in prepared.chunks]
    random.Random(7).shuffle(chunks)
    return [chunk for _, chunk in chunks[:SEEDS]], np.array(
        indexer.embed_chunks(embeddings.current_embedder(), chunks[:SEEDS])
    )


def fill(
    user: User, name: str, count: int, chunks: list[SourceChunk], known: np.ndarray, chance: np.random.Generator
) -> Repository:
    """Insert a repository of chunks, with words of real chunks and vectors between theirs."""
    repository = Repository.objects.create(user=user, name=name, model=embeddings.current_embedder().model)
    file = repository.file_set.create(path=f"{name}.py", digest="", language="python", chunks=count)
    with connection.cursor() as cursor:
        for start in range(0, count, 5_000):
            size = min(5_000, count - start)
            ids = insert(
                cursor, repository, file.pk, start, [random.Random(start + n).choice(chunks) for n in range(size)]
            )
            pairs = chance.integers(0, len(known), (size, 2))
            noise = chance.normal(0, NOISE / known.shape[1] ** 0.5, (size, known.shape[1]))
            mixed = 0.7 * known[pairs[:, 0]] + 0.3 * known[pairs[:, 1]] + noise
            with cursor.copy(COPY) as copy:
                for pk, vector in zip(ids, mixed / np.linalg.norm(mixed, axis=1, keepdims=True), strict=True):
                    copy.write_row((repository.pk, pk, repository.model, vectors.to_literal(vector)))
    terms.recount_terms(repository)
    repository.refresh_from_db()
    return repository


def insert(cursor, repository: Repository, file: int, start: int, chunks: list[SourceChunk]) -> list[int]:
    from_words = search.words.searchable_text
    cursor.execute(
        CHUNKS,
        {
            "repository": repository.pk,
            "file": file,
            "positions": list(range(start, start + len(chunks))),
            "symbols": [chunk.symbol for chunk in chunks],
            "contents": [chunk.content for chunk in chunks],
            "symbol_words": [from_words(chunk.symbol) for chunk in chunks],
            "content_words": [from_words(chunk.content) for chunk in chunks],
        },
    )
    return [row[0] for row in cursor.fetchall()]


def measure(repository: Repository, questions: list[tuple[str, list[float]]]) -> None:
    """Return the milliseconds in the database, and the recall of the ten nearest chunks."""
    embedder, times, recalls = embeddings.embedder_for(repository.model), [], []
    for text, vector in questions:
        started = time.perf_counter()
        found = search._candidates(repository, embedder, text, vector)
        times.append((time.perf_counter() - started) * 1000)
        best = {round(similarity, 5) for _, similarity, _ in sorted(found, key=lambda each: -each[1])[:DEEP]}
        exact = {round(each, 5) for each in nearest(repository, vector)}
        recalls.append(len(best & exact) / len(exact))
    p50, p95 = statistics.median(times), sorted(times)[int(0.95 * len(times))]
    chunks = f"{repository.chunks:,}".replace(",", " ")
    print(f"| {repository.name}, {chunks} | {p50:.1f} | {p95:.1f} | {statistics.mean(recalls):.3f} |", flush=True)


def nearest(repository: Repository, vector: list[float]) -> list[float]:
    literal = vectors.to_literal(vector)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT 1 - (embedding::halfvec(384) <=> %s::halfvec(384)) AS near FROM rag_vector "
            "WHERE repository_id = %s ORDER BY near DESC LIMIT %s",
            [literal, repository.pk, DEEP],
        )
        return [row[0] for row in cursor.fetchall()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--source", type=Path, default=Path(django.__file__).parent)
    options = parser.parse_args()
    call_command("prepare", verbosity=0, stdout=io.StringIO())
    user = User.objects.create_user(f"search-{os.getpid()}@example.com", "no sign-in", tier="team")
    chunks, known = seeds(options.source)
    chance = np.random.default_rng(7)
    filled = {
        name: fill(user, name, int(share * options.chunks), chunks, known, chance) for name, share in SHARES.items()
    }
    started = time.perf_counter()
    with connection.cursor() as cursor:
        cursor.execute("SET maintenance_work_mem = '512MB'")
    vectors.ensure_index(filled["large"].model, known.shape[1])
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE rag_vector, rag_chunk, rag_file")
        cursor.execute(
            "SELECT pg_size_pretty(pg_relation_size(%s::regclass))", [vectors.index_name(filled["large"].model)]
        )
        size, seconds = cursor.fetchone()[0], time.perf_counter() - started
        print(f"{Vector.objects.count()} vectors, index of {size} in {seconds:.0f} s")
    texts = [f"{chunk.symbol} {chunk.content.splitlines()[0]}" for chunk in random.Random(8).sample(chunks, QUERIES)]
    questions = list(zip(texts, embeddings.current_embedder().embed(texts), strict=True))
    print("\n| owner, chunks | median ms | p95 ms | recall@10 |\n|---|---|---|---|")
    for name in ("large", "small"):
        measure(filled[name], questions[:20])  # warm
        measure(filled[name], questions)


if __name__ == "__main__":
    main()
