"""The progress of an index job as events, and its outcome."""

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime
from uuid import UUID

from lunaos.errors import LunaError
from lunaos.event_lines import encode
from lunaos.infra import database, pubsub
from rag.errors import EmbeddingsUnavailable, UnknownRepository
from rag.indexing import jobs
from rag.models import IndexJob, JobStatus
from rag.search import embeddings

NumberedEvent = tuple[int, bytes]

DATABASE_TIMEOUT_S = 10.0
POLL_S = 1.0  # fallback for notifications that a broken connection lost


class JobEventReader:
    """Read a job's events: one event with the job's state after each change."""

    # Changes between two reads give one event.

    def __init__(self, job_id: UUID, after: int = -1) -> None:
        self._job_id, self._position = job_id, after
        self._changed = asyncio.Event()
        self._stop_listening = pubsub.subscribe(jobs.channel(job_id), lambda _: self._changed.set())
        self._ended = False

    async def read(self, within_s: float) -> list[NumberedEvent] | None:
        """Return the job's event if the job changed; empty after `within_s`, None at the end.

        Raises:
            UnknownRepository: the job was deleted with its repository.
        """
        deadline = time.monotonic() + within_s
        while not self._ended:
            self._changed.clear()
            try:
                async with asyncio.timeout(max(within_s, POLL_S)):  # so that the stream can send a heartbeat
                    job = await self.load_job()
            except TimeoutError:
                return []
            if job.revision > self._position:
                self._position, self._ended = job.revision, job.status not in jobs.UNFINISHED
                return [(job.revision, encode(as_event(job)))]
            self._ended = job.status not in jobs.UNFINISHED
            if not self._ended and (left_s := deadline - time.monotonic()) <= 0:
                return []
            if not self._ended:
                await self._wait(min(left_s, POLL_S))
        return None

    async def wait_for_end(self, within_s: float) -> IndexJob:
        """Return the job when it ended, or its state after `within_s` seconds."""
        deadline = time.monotonic() + within_s
        while (await self.read(max(0.0, deadline - time.monotonic()))) is not None and time.monotonic() < deadline:
            pass
        return await self.load_job()

    def close(self) -> None:
        """Stop listening for changes."""
        self._stop_listening()

    async def load_job(self) -> IndexJob:
        """Return the job's current state."""
        job = await database.call(_load, self._job_id, patience_s=DATABASE_TIMEOUT_S)
        if job is None:
            raise UnknownRepository("The job was deleted with its repository.")
        return job

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()


def as_event(job: IndexJob) -> dict[str, object]:
    """Return a job's state as an event: `progress`, `done` or `error`."""
    if job.status == JobStatus.FAILED:
        return {"type": "error", "error": job.error, "code": job.error_code}
    return {"type": "done" if job.status == JobStatus.SUCCEEDED else "progress", **progress_fields(job)}


def progress_fields(job: IndexJob) -> dict[str, object]:
    """Return the counts of an event."""
    return {
        "files": job.files,
        "filesDone": job.files_done,
        "unchanged": job.unchanged,
        "chunks": job.chunks,
        "filesPerSecond": files_per_second(job),
        "skipped": job.skipped,
        "skippedFiles": job.skipped_files,
    }


def files_per_second(job: IndexJob) -> float:
    """Return the files done a second since the job's first attempt; 0.0 before it."""
    if job.started_at is None:
        return 0.0
    seconds = ((job.finished_at or datetime.now(UTC)) - job.started_at).total_seconds()
    return round(job.files_done / max(seconds, 0.001), 1)


def job_error(job: IndexJob) -> LunaError:
    """Return the error of a failed job."""
    retry_after = embeddings.RETRY_AFTER_S if job.error_code == EmbeddingsUnavailable.code else None
    return LunaError.with_code(job.error_code, job.error, retry_after=retry_after)


def _load(job_id: UUID) -> IndexJob | None:
    return IndexJob.objects.select_related("repository").filter(pk=job_id).first()
