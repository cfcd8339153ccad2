"""Following an index job: what has been done so far, and how it ended."""

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

Entry = tuple[int, bytes]

PATIENCE_S = 10.0
POLL_S = 1.0  # a change wakes its followers; this is for what a broken connection may have swallowed


class Follower:
    """Reads a job's events: its state whenever it has changed. What changed in between is not told apart.

    Args:
        after: position of the last event that the reader has already.
    """

    def __init__(self, job_id: UUID, after: int = -1) -> None:
        self._job_id, self._position = job_id, after
        self._news = asyncio.Event()
        self._stop_listening = pubsub.listen(jobs.channel(job_id), lambda _: self._news.set())
        self._ended = False

    async def read(self, within_s: float) -> list[Entry] | None:
        """The job's event, where it has changed since the last one; None when the last one has been read.

        Raises:
            UnknownRepository: it has been deleted with its repository.
        """
        deadline = time.monotonic() + within_s
        while not self._ended:
            self._news.clear()
            try:
                async with asyncio.timeout(max(within_s, POLL_S)):  # readers are to see that the connection lives
                    job = await self.current()
            except TimeoutError:
                return []
            if job.revision > self._position:
                self._position, self._ended = job.revision, job.status not in jobs.UNFINISHED
                return [(job.revision, encode(event(job)))]
            self._ended = job.status not in jobs.UNFINISHED
            if not self._ended and (left_s := deadline - time.monotonic()) <= 0:
                return []
            if not self._ended:
                await self._wait(min(left_s, POLL_S))
        return None

    async def until_end(self, within_s: float) -> IndexJob:
        """The job when it has ended, or as it is after so many seconds."""
        deadline = time.monotonic() + within_s
        while (await self.read(max(0.0, deadline - time.monotonic()))) is not None and time.monotonic() < deadline:
            pass
        return await self.current()

    def close(self) -> None:
        """Stop listening."""
        self._stop_listening()

    async def current(self) -> IndexJob:
        """The job as it is now."""
        job = await database.call(_load, self._job_id, patience_s=PATIENCE_S)
        if job is None:
            raise UnknownRepository("The job has gone with its repository.")
        return job

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()


def event(job: IndexJob) -> dict[str, object]:
    """A job's state as an event: `progress`, then `done` or `error`."""
    if job.status == JobStatus.FAILED:
        return {"type": "error", "error": job.error, "code": job.error_code}
    return {"type": "done" if job.status == JobStatus.SUCCEEDED else "progress", **figures(job)}


def figures(job: IndexJob) -> dict[str, object]:
    """How far a job is."""
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
    """Files done since it was taken up, a second."""
    if job.started_at is None:
        return 0.0
    seconds = ((job.finished_at or datetime.now(UTC)) - job.started_at).total_seconds()
    return round(job.files_done / max(seconds, 0.001), 1)


def failure(job: IndexJob) -> LunaError:
    """Why a job has failed."""
    retry_after = embeddings.RETRY_S if job.error_code == EmbeddingsUnavailable.code else None
    return LunaError.with_code(job.error_code, job.error, retry_after=retry_after)


def _load(job_id: UUID) -> IndexJob | None:
    return IndexJob.objects.select_related("repository").filter(pk=job_id).first()
