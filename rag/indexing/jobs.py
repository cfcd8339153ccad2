"""The states of an index job."""

# Every change is published to the job's event streams.

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F

from lunaos.errors import LunaError
from lunaos.infra import redis
from rag.indexing import sizes
from rag.indexing.indexer import Progress, SourceFile
from rag.models import IndexJob, JobKind, JobStatus, Repository, Upload

UNFINISHED = (JobStatus.QUEUED, JobStatus.RUNNING)
ENDED_JOB_RETENTION = timedelta(days=30)
MAX_SKIPPED_LISTED, MAX_SKIPPED_LISTED_BYTES = 1_000, 32_768  # paths stored with a job; the count includes all
MAX_ENDED_JOBS_PER_OWNER = 1_000
SURPLUS_RETENTION = timedelta(hours=1)  # of jobs beyond MAX_ENDED_JOBS_PER_OWNER
DELETE_SURPLUS = """
    WITH many AS (
        SELECT repository.user_id FROM rag_indexjob job JOIN rag_repository repository ON repository.id = repository_id
        WHERE finished_at IS NOT NULL GROUP BY repository.user_id HAVING count(*) > %(kept)s
    ),
    ended AS (
        SELECT job.id, job.finished_at,
            row_number() OVER (PARTITION BY repository.user_id ORDER BY job.finished_at DESC) AS n
        FROM rag_indexjob job JOIN rag_repository repository ON repository.id = job.repository_id
        WHERE job.finished_at IS NOT NULL AND repository.user_id IN (SELECT user_id FROM many)
    )
    DELETE FROM rag_indexjob WHERE id IN (SELECT id FROM ended WHERE n > %(kept)s AND finished_at < %(before)s)
"""


def channel(job_id: UUID) -> str:
    """Return the Valkey channel of a job's changes."""
    return f"lunaos:index-job:{job_id}"


@transaction.atomic
def create(repository: Repository, files: Sequence[SourceFile], growths: Sequence[int] | None = None) -> IndexJob:
    """Create a job with the files to index, from `apply_skip_rules`: PostgreSQL stores no NUL."""
    # `growths` holds the bytes by which each file may enlarge the repository; by default the files' sizes.
    job = IndexJob.objects.create(repository=repository, model=repository.model, files=len(files))
    sized = [0 if file.content is None else sizes.file_bytes(file.path, file.content) for file in files]
    Upload.objects.bulk_create(
        Upload(job=job, path=file.path, content=file.content or "", reason=file.reason or "", bytes=size, growth=growth)
        for file, size, growth in zip(files, sized, growths or sized, strict=True)
    )
    return job


def mark_running(job: IndexJob) -> IndexJob:
    """Mark a job as running, and count the attempt."""
    started = job.started_at or datetime.now(UTC)
    fresh = {"error_code": "", "error": "", "finished_at": None}
    return _update(job, status=JobStatus.RUNNING, attempts=F("attempts") + 1, started_at=started, **fresh)


@transaction.atomic
def record_progress(job: IndexJob, progress: Progress) -> None:
    """Add progress to a job and delete its done uploads."""
    # A later attempt resumes there.
    if progress == Progress():
        return
    with suppress(IndexJob.DoesNotExist):
        fresh = IndexJob.objects.select_for_update().get(pk=job.pk)
        shown = [{"path": path, "reason": reason} for path, reason in progress.skipped]
        Upload.objects.filter(job=job, path__in=progress.paths).delete()
        _update(
            job,
            files_done=F("files_done") + len(progress.paths),
            files=max(fresh.files, fresh.files_done + len(progress.paths)),
            unchanged=F("unchanged") + progress.unchanged,
            chunks=F("chunks") + progress.chunks,
            skipped=_listed(fresh.skipped + shown),
            skipped_files=F("skipped_files") + len(progress.skipped),
        )


@transaction.atomic
def mark_ended(job: IndexJob, error: LunaError | None = None) -> None:
    """Write a job's outcome, and delete the uploads that are left."""
    Upload.objects.filter(job=job).delete()
    failure = {"error_code": error.code, "error": str(error)} if error else {}
    status = JobStatus.FAILED if error else JobStatus.SUCCEEDED
    _update(job, status=status, finished_at=datetime.now(UTC), **failure)


def read_uploads(job: IndexJob) -> Iterator[SourceFile]:
    """Yield the files that are not done yet, one in memory at a time."""
    for pk in list(Upload.objects.filter(job=job).order_by("pk").values_list("pk", flat=True)):
        if upload := Upload.objects.filter(pk=pk).first():  # a deleted repository takes its uploads along
            yield SourceFile(upload.path, upload.content, upload.reason or None)


def delete_old(now: datetime | None = None) -> None:
    """Delete old ended jobs, and an owner's surplus: each job stores its skipped paths."""
    now = now or datetime.now(UTC)
    IndexJob.objects.filter(finished_at__lt=now - ENDED_JOB_RETENTION).delete()
    with connection.cursor() as cursor:
        cursor.execute(DELETE_SURPLUS, {"kept": MAX_ENDED_JOBS_PER_OWNER, "before": now - SURPLUS_RETENTION})


def next_unfinished(repository_id: int) -> IndexJob | None:
    """Return the oldest unfinished job of a repository."""
    unfinished = IndexJob.objects.filter(repository_id=repository_id, status__in=UNFINISHED)
    return unfinished.select_related("repository").order_by("created_at", "pk").first()


def owner_id(job: IndexJob) -> UUID:
    """Return the owner of a job's repository, without a query for a `next_unfinished` job."""
    return job.repository.user_id


@contextmanager
def suspend_attempt(job: IndexJob) -> Iterator[None]:
    """Discount the job's attempt while the block runs another owner's job."""
    # If the other job kills the worker, this job does not lose an attempt.
    attempts = IndexJob.objects.filter(pk=job.pk)
    attempts.update(attempts=F("attempts") - 1)
    yield
    attempts.update(attempts=F("attempts") + 1)


def uncount_attempt(job: IndexJob) -> None:
    """Discount the job's attempt: the next turn continues the same attempt."""
    _update(job, attempts=F("attempts") - 1)


def is_folder_job(job: IndexJob) -> bool:
    """Return whether only the command that reads the folder can continue the job."""
    return job.kind == JobKind.FOLDER


def _listed(skipped: list[dict[str, str]]) -> list[dict[str, str]]:
    # Bounded in bytes: no owner's stored bytes include the paths of skipped files.
    ends = accumulate(len(each["path"].encode(errors="replace")) for each in skipped[:MAX_SKIPPED_LISTED])
    return [each for each, end in zip(skipped, ends, strict=False) if end <= MAX_SKIPPED_LISTED_BYTES]


def _update(job: IndexJob, **fields: object) -> IndexJob:
    # Update a job, if its repository was not deleted meanwhile, and publish the change.
    IndexJob.objects.filter(pk=job.pk).update(revision=F("revision") + 1, **fields)
    transaction.on_commit(lambda: _publish(job.pk))
    return job


def _publish(job_id: UUID) -> None:
    with suppress(redis.RedisError):
        redis.client().publish(channel(job_id), b"1")
