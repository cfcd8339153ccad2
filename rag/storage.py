"""What an owner has stored in code search, and whether the owner's tier has room for more."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.conf import settings
from django.db import connection

from accounts.models import User
from billing import limits, tiers
from lunaos.errors import LunaError
from lunaos.infra.plurals import counted
from rag import sizes
from rag.errors import BacklogFull, StorageLimitReached
from rag.indexing import store
from rag.indexing.indexer import SourceFile, digest
from rag.models import Repository

BACKLOG_RETRY_S = 60
FILES_AT_ONCE = 500
LOCK = "SELECT pg_advisory_xact_lock(hashtext('rag.storage'), hashtext(%s))"
# One statement, so that a file that moves from the uploads into the index at this moment counts once.
HELD = """
    WITH mine AS (SELECT id, bytes FROM rag_repository WHERE user_id = %s),
    waiting AS (
        SELECT COALESCE(sum(upload.bytes), 0)::bigint AS bytes, COALESCE(sum(upload.growth), 0)::bigint AS growth
        FROM mine
        JOIN rag_indexjob job ON job.repository_id = mine.id AND job.status IN ('queued', 'running')
        JOIN rag_upload upload ON upload.job_id = job.id
    )
    SELECT (SELECT COALESCE(sum(bytes), 0)::bigint FROM mine), waiting.bytes, waiting.growth,
        (SELECT count(*) FROM mine)
    FROM waiting
"""
UNMEASURED = "file.bytes IS NULL"
# Also files that an older release has replaced: it knows neither column and leaves both unchanged.
OUTDATED = "(file.bytes IS NULL OR file.measured_digest <> file.digest)"
# Of one repository a statement: two that run at once then lock repositories in no conflicting order.
MEASURE = f"""
    WITH batch AS (
        SELECT id, COALESCE(bytes, 0) AS before FROM rag_file file WHERE {{condition}} AND repository_id = (
            SELECT repository_id FROM rag_file file WHERE {{condition}} LIMIT 1
        ) ORDER BY id LIMIT {FILES_AT_ONCE} FOR UPDATE SKIP LOCKED
    ),
    measured AS (
        UPDATE rag_file file SET bytes = {sizes.OF_CHUNKS}, measured_digest = file.digest
        FROM batch WHERE file.id = batch.id RETURNING file.repository_id, file.bytes - batch.before AS growth
    ),
    summed AS (SELECT repository_id, sum(growth) AS growth FROM measured GROUP BY repository_id),
    counted AS (
        UPDATE rag_repository SET bytes = rag_repository.bytes + summed.growth
        FROM summed WHERE rag_repository.id = summed.repository_id
    )
    SELECT count(*) FROM measured
"""  # noqa: S608 - constants
DIFFERENCES = f"""
    SELECT repository.id, repository.name, repository.bytes, COALESCE(sum(file.bytes), 0)::bigint,
        count(*) FILTER (WHERE file.id IS NOT NULL AND {OUTDATED})
    FROM rag_repository repository LEFT JOIN rag_file file ON file.repository_id = repository.id
    GROUP BY repository.id
    HAVING repository.bytes <> COALESCE(sum(file.bytes), 0)
        OR count(*) FILTER (WHERE file.id IS NOT NULL AND {OUTDATED}) > 0
    ORDER BY repository.id
"""  # noqa: S608 - constants


@dataclass(frozen=True, slots=True)
class Held:
    """What an owner has in code search.

    Args:
        bytes: of the files in the index.
        waiting: bytes of the files that wait for indexing.
        growth: by how much those may enlarge the index.
    """

    bytes: int
    waiting: int
    growth: int
    repositories: int


@dataclass(frozen=True, slots=True)
class Difference:
    """A repository whose counter is not the sum of its files.

    Args:
        unmeasured: files without a size, or with that of an earlier content.
    """

    repository_id: int
    name: str
    counted: int
    stored: int
    unmeasured: int


def lock(owner: User) -> None:
    """Let one request of an owner at a time look for room; until the transaction's end."""
    with connection.cursor() as cursor:
        cursor.execute(LOCK, [str(owner.pk)])


def held(owner: User) -> Held:
    """Return what an owner has stored at this moment."""
    with connection.cursor() as cursor:
        return Held(*cursor.execute(HELD, [owner.pk]).fetchone())


def require_repository(owner: User) -> None:
    """Refuse a further repository beyond the tier's number; the caller holds the owner's lock.

    Raises:
        StorageLimitReached: there is no room for one.
    """
    used, limit = Repository.objects.filter(user=owner).count(), limits.of(owner).repositories
    if used >= limit:
        raise _limit_reached(owner, "repositories", used, limit)


def require_room(owner: User, repository: Repository, files: Sequence[SourceFile]) -> list[int]:
    """Refuse files that the tier has no room for; the caller holds the owner's lock.

    Files that replace larger ones are taken in above the limit too.

    Args:
        files: judged; one that is left out counts nothing.

    Returns:
        By how many bytes each file may enlarge the repository.

    Raises:
        StorageLimitReached: with these files the owner would have more than the tier allows.
        BacklogFull: too many bytes of the owner wait for indexing.
    """
    kept = [0 if file.content is None else sizes.of(file.path, file.content) for file in files]
    growths = _growths(repository, files, kept)
    wanted, growth = sum(kept), sum(growths)
    now, limit = held(owner), limits.of(owner).stored_bytes
    if growth and now.bytes + now.growth + growth > limit:
        raise _limit_reached(owner, "bytes", now.bytes + now.growth, limit)
    if now.waiting and now.waiting + wanted > settings.RAG_BACKLOG_BYTES:
        raise _backlog_full(now.waiting, settings.RAG_BACKLOG_BYTES)
    # A waiting file may take the place of one that a job before it removes: until then it counts in full.
    if growth and now.bytes + now.waiting + growth > limit:
        raise _backlog_full(now.waiting, limit - now.bytes)
    return growths


def measure(condition: str = UNMEASURED) -> int:
    """Measure some files that have no size, and return how many: an older version has written them.

    Args:
        condition: OUTDATED for those too that an older version has replaced, which takes a look at all files.
    """
    with connection.cursor() as cursor:
        return int(cursor.execute(MEASURE.format(condition=condition)).fetchone()[0])


def differences() -> list[Difference]:
    """Hold every repository's counter against its files, in one snapshot."""
    with connection.cursor() as cursor:
        return [Difference(*row) for row in cursor.execute(DIFFERENCES).fetchall()]


def repair() -> None:
    """Measure what has no size or that of an earlier content, and set the counters that differ."""
    while measure(OUTDATED):
        pass
    for each in differences():
        store.recount(each.repository_id)


def _growths(repository: Repository, files: Sequence[SourceFile], kept: Sequence[int]) -> list[int]:
    known = store.sizes(repository, [file.path for file in files])
    return [
        0 if _is_known(file, known) else max(0, size - known.get(file.path, ("", 0))[1])
        for file, size in zip(files, kept, strict=True)
    ]


def _is_known(file: SourceFile, known: Mapping[str, tuple[str, int]]) -> bool:
    """Whether the index has the file as it is; the size of one that an older version has written is a little off."""
    return file.path in known and known[file.path][0] == digest(file.content or "")


def _limit_reached(owner: User, what: str, used: int, limit: int) -> LunaError:
    tier = limits.of(owner).name
    allowed = counted(limit, "repository") if what == "repositories" else f"{limit} bytes of files"
    return StorageLimitReached(
        tier=tier,
        resource=what,
        used=used,
        limit=limit,
        upgradeUrl=tiers.upgrade_url(),
        message=f"The {tier} tier holds {allowed} in code search, and you have {used}. Delete some, or upgrade.",
    )


def _backlog_full(waiting: int, limit: int) -> LunaError:
    return BacklogFull(retry_after=BACKLOG_RETRY_S, waitingBytes=waiting, limit=max(0, limit))
