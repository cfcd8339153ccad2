"""An owner's storage in code search, and the limits of the owner's tier."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.conf import settings
from django.db import connection

from accounts.models import User
from billing import limits, tiers
from lunaos.errors import LunaError
from lunaos.infra.plurals import counted
from rag.errors import BacklogFull, StorageLimitReached
from rag.indexing import sizes, store
from rag.indexing.indexer import SourceFile, digest
from rag.models import Repository

BACKLOG_RETRY_S = 60
LOCK_OWNER = "SELECT pg_advisory_xact_lock(hashtext('rag.storage'), hashtext(%s))"
# One statement, so that a file that moves from the uploads into the index meanwhile counts once.
USAGE = """
    WITH owned AS (SELECT id, bytes FROM rag_repository WHERE user_id = %s),
    waiting AS (
        SELECT COALESCE(sum(upload.bytes), 0)::bigint AS bytes, COALESCE(sum(upload.growth), 0)::bigint AS growth
        FROM owned
        JOIN rag_indexjob job ON job.repository_id = owned.id AND job.status IN ('queued', 'running')
        JOIN rag_upload upload ON upload.job_id = job.id
    )
    SELECT (SELECT COALESCE(sum(bytes), 0)::bigint FROM owned), waiting.bytes, waiting.growth,
        (SELECT count(*) FROM owned)
    FROM waiting
"""


@dataclass(frozen=True, slots=True)
class StorageUsage:
    """An owner's storage in code search."""

    # `waiting`: bytes of the files that wait for indexing. `growth`: bytes by which the waiting files may enlarge the
    # index.

    bytes: int
    waiting: int
    growth: int
    repositories: int


def lock_owner(owner: User) -> None:
    """Serialize an owner's limit checks until the end of the transaction."""
    with connection.cursor() as cursor:
        cursor.execute(LOCK_OWNER, [str(owner.pk)])


def usage(owner: User) -> StorageUsage:
    """Return an owner's current storage."""
    with connection.cursor() as cursor:
        return StorageUsage(*cursor.execute(USAGE, [owner.pk]).fetchone())


def check_repository_limit(owner: User) -> None:
    """Refuse another repository if the tier allows no more; the caller holds the owner's lock.

    Raises:
        StorageLimitReached: the owner has as many repositories as the tier allows.
    """
    used, limit = Repository.objects.filter(user=owner).count(), limits.for_owner(owner).repositories
    if used >= limit:
        raise _limit_reached(owner, "repositories", used, limit)


def check_byte_limits(owner: User, repository: Repository, files: Sequence[SourceFile]) -> list[int]:
    """Refuse files that exceed the tier's bytes; the caller holds the owner's lock.

    Raises:
        StorageLimitReached: these files would exceed the bytes that the tier allows.
        BacklogFull: too many bytes of the owner wait for indexing.
    """
    # Files that replace larger ones are accepted above the limit too. `files` come from `apply_skip_rules`; a skipped
    # file counts 0 bytes. The result: the bytes by which each file may enlarge the repository.
    kept = [0 if file.content is None else sizes.file_bytes(file.path, file.content) for file in files]
    growths = _growths(repository, files, kept)
    new_bytes, growth = sum(kept), sum(growths)
    now, limit = usage(owner), limits.for_owner(owner).stored_bytes
    if growth and now.bytes + now.growth + growth > limit:
        raise _limit_reached(owner, "bytes", now.bytes + now.growth, limit)
    if now.waiting and now.waiting + new_bytes > settings.RAG_BACKLOG_BYTES:
        raise _backlog_full(now.waiting, settings.RAG_BACKLOG_BYTES)
    # A waiting file may replace a file that an earlier job removes; until then the waiting file counts in full.
    if growth and now.bytes + now.waiting + growth > limit:
        raise _backlog_full(now.waiting, limit - now.bytes)
    return growths


def _growths(repository: Repository, files: Sequence[SourceFile], kept: Sequence[int]) -> list[int]:
    known = store.digests_and_bytes(repository, [file.path for file in files])
    return [
        0 if _is_unchanged(file, known) else max(0, size - known.get(file.path, ("", 0))[1])
        for file, size in zip(files, kept, strict=True)
    ]


def _is_unchanged(file: SourceFile, known: Mapping[str, tuple[str, int]]) -> bool:
    # Compared by digest: sizes measured by older versions are a few bytes off.
    return file.path in known and known[file.path][0] == digest(file.content or "")


def _limit_reached(owner: User, what: str, used: int, limit: int) -> LunaError:
    tier = limits.for_owner(owner).name
    allowed = counted(limit, "repository") if what == "repositories" else f"{limit} bytes of files"
    return StorageLimitReached(
        tier=tier,
        resource=what,
        used=used,
        limit=limit,
        upgradeUrl=tiers.upgrade_url(tier),
        message=f"The {tier} tier holds {allowed} in code search, and you have {used}. Delete some, or upgrade.",
    )


def _backlog_full(waiting: int, limit: int) -> LunaError:
    return BacklogFull(retry_after=BACKLOG_RETRY_S, waitingBytes=waiting, limit=max(0, limit))
