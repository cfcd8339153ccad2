"""An index job's life: made, taken, reported on, ended. Each change wakes whoever follows it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F

from lunaos.errors import LunaError
from lunaos.infra import redis
from rag.indexing import sizes
from rag.indexing.indexer import Progress, SourceFile
from rag.models import IndexJob, JobKind, JobStatus, Repository, Upload

UNFINISHED = (JobStatus.QUEUED, JobStatus.RUNNING)
ENDED_JOB_RETENTION = timedelta(days=30)  # after its end
MAX_SKIPPED_LISTED = 1_000  # of a job; all are counted
MAX_ENDED_JOBS_PER_OWNER = 1_000
SURPLUS_RETENTION = timedelta(hours=1)  # of the jobs beyond
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
    """Where each change of a job is published."""
    return f"lunaos:index-job:{job_id}"


@transaction.atomic
def create(repository: Repository, files: Sequence[SourceFile], growths: Sequence[int] | None = None) -> IndexJob:
    """Write a job down, with the files it is to index.

    Args:
        files: judged, since PostgreSQL could not even hold NUL.
        growths: by how many bytes each may enlarge the repository; all of its bytes where not given.
    """
    job = IndexJob.objects.create(repository=repository, model=repository.model, files=len(files))
    sized = [0 if file.content is None else sizes.file_bytes(file.path, file.content) for file in files]
    Upload.objects.bulk_create(
        Upload(job=job, path=file.path, content=file.content or "", reason=file.reason or "", bytes=size, growth=growth)
        for file, size, growth in zip(files, sized, growths or sized, strict=True)
    )
    return job


def mark_running(job: IndexJob) -> IndexJob:
    """It is being done now, perhaps not for the first time."""
    started = job.started_at or datetime.now(UTC)
    fresh = {"error_code": "", "error": "", "finished_at": None}
    return _update(job, status=JobStatus.RUNNING, attempts=F("attempts") + 1, started_at=started, **fresh)


@transaction.atomic
def record_progress(job: IndexJob, progress: Progress) -> None:
    """Note what has been done; a job that is taken up again goes on behind it."""
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
            skipped=(fresh.skipped + shown)[:MAX_SKIPPED_LISTED],
            skipped_files=F("skipped_files") + len(progress.skipped),
        )


@transaction.atomic
def mark_ended(job: IndexJob, error: LunaError | None = None) -> None:
    """Write how a job ended; what it has not done goes."""
    Upload.objects.filter(job=job).delete()
    failure = {"error_code": error.code, "error": str(error)} if error else {}
    status = JobStatus.FAILED if error else JobStatus.SUCCEEDED
    _update(job, status=status, finished_at=datetime.now(UTC), **failure)


def read_uploads(job: IndexJob) -> Iterator[SourceFile]:
    """The files still to be done, one in memory at a time."""
    for pk in list(Upload.objects.filter(job=job).order_by("pk").values_list("pk", flat=True)):
        if upload := Upload.objects.filter(pk=pk).first():  # it may go with its repository meanwhile
            yield SourceFile(upload.path, upload.content, upload.reason or None)


def delete_old(now: datetime | None = None) -> None:
    """Drop jobs that ended long ago, and those that an owner has too many of: each keeps the paths it left out."""
    now = now or datetime.now(UTC)
    IndexJob.objects.filter(finished_at__lt=now - ENDED_JOB_RETENTION).delete()
    with connection.cursor() as cursor:
        cursor.execute(DELETE_SURPLUS, {"kept": MAX_ENDED_JOBS_PER_OWNER, "before": now - SURPLUS_RETENTION})


def next_unfinished(repository_id: int) -> IndexJob | None:
    """The oldest job of a repository that has not ended."""
    unfinished = IndexJob.objects.filter(repository_id=repository_id, status__in=UNFINISHED)
    return unfinished.select_related("repository").order_by("created_at", "pk").first()


def owner_id(job: IndexJob) -> UUID:
    """Whose repository a job is for; `job` is as `next_of` returns it."""
    return job.repository.user_id


@contextmanager
def suspend_attempt(job: IndexJob) -> Iterator[None]:
    """Do another owner's job in the block: if that kills the worker, the attempt is not counted against this job."""
    attempts = IndexJob.objects.filter(pk=job.pk)
    attempts.update(attempts=F("attempts") - 1)
    yield
    attempts.update(attempts=F("attempts") + 1)


def uncount_attempt(job: IndexJob) -> None:
    """Leave a job to its next turn, which is no further attempt."""
    _update(job, attempts=F("attempts") - 1)


def is_folder_job(job: IndexJob) -> bool:
    """Whether a job's files went with the command that read them: nobody else can go on with it."""
    return job.kind == JobKind.FOLDER


def _update(job: IndexJob, **fields: object) -> IndexJob:
    """Change a job; it may have gone with its repository meanwhile."""
    IndexJob.objects.filter(pk=job.pk).update(revision=F("revision") + 1, **fields)
    transaction.on_commit(lambda: _publish(job.pk))
    return job


def _publish(job_id: UUID) -> None:
    with suppress(redis.RedisError):
        redis.client().publish(channel(job_id), b"1")
