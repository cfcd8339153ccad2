"""How many bytes a file of code search counts for."""

from dataclasses import dataclass

from django.db import connection

from rag.indexing import store

MIN_FILE_BYTES = 200  # an empty file has rows too
# The same of a file in the index, whose content is kept as its chunks only.
OF_CHUNKS = f"""
    GREATEST({MIN_FILE_BYTES}, octet_length(file.path) + COALESCE(
        (SELECT sum(octet_length(content)) FROM rag_chunk WHERE rag_chunk.file_id = file.id), 0
    ))
"""  # noqa: S608 - a number
FILES_AT_ONCE = 500
# Of one repository a statement: two that run at once then lock repositories in no conflicting order.
MEASURE = f"""
    WITH batch AS (
        SELECT id FROM rag_file WHERE bytes IS NULL AND repository_id = (
            SELECT repository_id FROM rag_file WHERE bytes IS NULL LIMIT 1
        ) ORDER BY id LIMIT {FILES_AT_ONCE} FOR UPDATE SKIP LOCKED
    ),
    measured AS (
        UPDATE rag_file file SET bytes = {OF_CHUNKS}
        FROM batch WHERE file.id = batch.id RETURNING file.repository_id, file.bytes
    ),
    summed AS (SELECT repository_id, sum(bytes) AS bytes FROM measured GROUP BY repository_id),
    counted AS (
        UPDATE rag_repository SET bytes = rag_repository.bytes + summed.bytes
        FROM summed WHERE rag_repository.id = summed.repository_id
    )
    SELECT count(*) FROM measured
"""  # noqa: S608 - constants
DIFFERENCES = """
    SELECT repository.id, repository.name, repository.bytes, COALESCE(sum(file.bytes), 0)::bigint,
        count(*) FILTER (WHERE file.id IS NOT NULL AND file.bytes IS NULL)
    FROM rag_repository repository LEFT JOIN rag_file file ON file.repository_id = repository.id
    GROUP BY repository.id
    HAVING repository.bytes <> COALESCE(sum(file.bytes), 0)
        OR count(*) FILTER (WHERE file.id IS NOT NULL AND file.bytes IS NULL) > 0
    ORDER BY repository.id
"""


@dataclass(frozen=True, slots=True)
class Difference:
    """A repository whose counter is not the sum of its files.

    Args:
        unmeasured: files without a size.
    """

    repository_id: int
    name: str
    counted: int
    stored: int
    unmeasured: int


def of(path: str, content: str) -> int:
    """Return the bytes of path and content in UTF-8, MIN_FILE_BYTES at least."""
    return max(MIN_FILE_BYTES, len(path.encode(errors="replace")) + len(content.encode(errors="replace")))


def measure() -> int:
    """Measure some files that have no size, and return how many: an older version has written them."""
    with connection.cursor() as cursor:
        return int(cursor.execute(MEASURE).fetchone()[0])


def differences() -> list[Difference]:
    """Hold every repository's counter against its files, in one snapshot."""
    with connection.cursor() as cursor:
        return [Difference(*row) for row in cursor.execute(DIFFERENCES).fetchall()]


def repair() -> None:
    """Measure what has no size, and set the counters that differ."""
    while measure():
        pass
    for each in differences():
        store.recount(each.repository_id)
