"""The stored size of files, and the repositories' counters of stored bytes."""

from dataclasses import dataclass

from django.db import connection

from rag.indexing import store

MIN_FILE_BYTES = 200  # an empty file has database rows too
# The size of a file in the index, which holds the content as chunks only.
FILE_BYTES_SQL = f"""
    GREATEST({MIN_FILE_BYTES}, octet_length(file.path) + COALESCE(
        (SELECT sum(octet_length(content)) FROM rag_chunk WHERE rag_chunk.file_id = file.id), 0
    ))
"""  # noqa: S608 - a number
BATCH_FILES = 500
UNMEASURED = "file.bytes IS NULL"
# Also files that an older release has replaced: it knows neither column and leaves both unchanged.
OUTDATED = "(file.bytes IS NULL OR file.measured_digest <> file.digest)"
# One repository a statement, so that two statements never lock repositories in conflicting order.
MEASURE_FILES = f"""
    WITH batch AS (
        SELECT id, COALESCE(bytes, 0) AS before FROM rag_file file WHERE {{condition}} AND repository_id = (
            SELECT repository_id FROM rag_file file WHERE {{condition}} LIMIT 1
        ) ORDER BY id LIMIT {BATCH_FILES} FOR UPDATE SKIP LOCKED
    ),
    measured AS (
        UPDATE rag_file file SET bytes = {FILE_BYTES_SQL}, measured_digest = file.digest
        FROM batch WHERE file.id = batch.id RETURNING file.repository_id, file.bytes - batch.before AS growth
    ),
    summed AS (SELECT repository_id, sum(growth) AS growth FROM measured GROUP BY repository_id),
    counted AS (
        UPDATE rag_repository SET bytes = rag_repository.bytes + summed.growth
        FROM summed WHERE rag_repository.id = summed.repository_id
    )
    SELECT count(*) FROM measured
"""  # noqa: S608 - constants
COUNTER_MISMATCHES = f"""
    SELECT repository.id, repository.name, repository.bytes, COALESCE(sum(file.bytes), 0)::bigint,
        count(*) FILTER (WHERE file.id IS NOT NULL AND {OUTDATED})
    FROM rag_repository repository LEFT JOIN rag_file file ON file.repository_id = repository.id
    GROUP BY repository.id
    HAVING repository.bytes <> COALESCE(sum(file.bytes), 0)
        OR count(*) FILTER (WHERE file.id IS NOT NULL AND {OUTDATED}) > 0
    ORDER BY repository.id
"""  # noqa: S608 - constants


@dataclass(frozen=True, slots=True)
class CounterMismatch:
    """A repository whose counter of bytes differs from the sum of its files."""

    # `counted`: value of the counter, in bytes. `stored`: sum of the files' sizes, in bytes.

    repository_id: int
    name: str
    counted: int
    stored: int
    unmeasured: int


def file_bytes(path: str, content: str) -> int:
    """Return the bytes of path and content in UTF-8, MIN_FILE_BYTES at least."""
    return max(MIN_FILE_BYTES, len(path.encode(errors="replace")) + len(content.encode(errors="replace")))


def measure_files(condition: str = UNMEASURED) -> int:
    """Set the size of up to BATCH_FILES files that an older version wrote; return how many."""
    # With OUTDATED as condition also of files that an older version replaced, which takes a scan of all files.
    with connection.cursor() as cursor:
        return int(cursor.execute(MEASURE_FILES.format(condition=condition)).fetchone()[0])


def counter_mismatches() -> list[CounterMismatch]:
    """Compare every repository's counter with its files, in one snapshot."""
    with connection.cursor() as cursor:
        return [CounterMismatch(*row) for row in cursor.execute(COUNTER_MISMATCHES).fetchall()]


def repair_counters() -> None:
    """Set missing sizes, and the counters that differ from their files."""
    while measure_files(OUTDATED):
        pass
    for each in counter_mismatches():
        store.recount_bytes(each.repository_id)
