"""Run the jobs of a repository one after the other, with turns for other owners between."""

# The holder of a repository's advisory lock runs the repository's jobs. The lock ends with its holder's connection,
# so a job that is `running` without the lock has lost its worker, and the next holder continues the job: done files
# are marked, and a file that is indexed twice replaces itself.

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from functools import partial

from django.conf import settings
from django.db import IntegrityError, InterfaceError, OperationalError
from django.db.models.functions import Now

from lunaos.errors import LunaError
from lunaos.infra import locks
from rag import stopping
from rag.errors import EmbeddingsBusy, IndexingInterrupted, UnknownRepository
from rag.indexing import indexer, jobs, queue, reindexing
from rag.indexing.indexer import SourceFile
from rag.indexing.owner_turns import Turn, TurnOver
from rag.models import IndexJob, JobKind, Repository
from rag.search import embeddings, terms, vectors
from rag.stopping import WorkerStopping

LOCK_SUBJECT = "rag.repository"
REQUEST_RETRIES = 1  # a waiting request holds a thread of the web process
INLINE_TIMEOUT_S = 5.0  # a small request may have many chunks, or the model may be busy: a worker continues the job
logger = logging.getLogger(__name__)


class InlineTimeout(Exception):
    """An inline job exceeded INLINE_TIMEOUT_S; a worker continues the job."""


def run(repository_id: int) -> None:
    """Run all jobs of a repository, with turns for other owners between."""
    # If another process holds the repository, that process runs the jobs, and this function returns at once.
    while first := jobs.next_unfinished(repository_id):
        with locks.try_lock(LOCK_SUBJECT, repository_id) as acquired:
            if not acquired:
                return
            _run_all(repository_id, Turn((jobs.owner_id(first),)))
        if stopping.is_requested():
            _enqueue_unfinished(repository_id)
            return
        # A job created between the last check and the release found the lock taken: check again.


def _run_all(repository_id: int, turn: Turn) -> None:
    # Run the jobs of a repository until none is left or the worker shuts down.
    while not stopping.is_requested() and (job := jobs.next_unfinished(repository_id)):
        try:
            _run_job(job, checkpoint=partial(_yield_to_others, turn, job))
        except WorkerStopping:
            jobs.uncount_attempt(job)
            return
        _yield_to_others(turn)  # a job of unchanged files makes no request, so it had no checkpoint there


def _enqueue_unfinished(repository_id: int) -> None:
    # Have another worker continue a repository; beat enqueues it later if the queue is unreachable.
    if jobs.next_unfinished(repository_id):
        with suppress(*queue.CONNECTION_ERRORS):
            queue.enqueue(repository_id)


def _yield_to_others(turn: Turn, job: IndexJob | None = None) -> None:
    if job:
        stopping.raise_if_requested()
    if not stopping.is_requested():
        turn.yield_to_others(partial(_run_turn, job))


def _run_turn(outer: IndexJob | None, repository_id: int, turn: Turn) -> None:
    # Run another owner's jobs for one turn, while this thread's job `outer` waits.
    with locks.try_lock(LOCK_SUBJECT, repository_id) as acquired:
        if acquired:
            with jobs.suspend_attempt(outer) if outer else nullcontext():
                _run_until_over(repository_id, turn)
    if acquired:
        _enqueue_unfinished(repository_id)  # a worker may have consumed its message while the lock was taken


def _run_until_over(repository_id: int, turn: Turn) -> None:
    while job := jobs.next_unfinished(repository_id):
        try:
            _run_job(job, checkpoint=partial(_yield_to_others, turn, job), on_write=turn.raise_if_over)
        except (TurnOver, WorkerStopping):
            jobs.uncount_attempt(job)
        if turn.is_over() or stopping.is_requested():
            return


def run_inline(job: IndexJob) -> bool:
    """Run a job in this thread, unless another job holds or precedes it."""
    # The result: whether the job ended; False if it must wait for its turn or timed out. Done files stay done.
    deadline = time.monotonic() + INLINE_TIMEOUT_S

    with locks.try_lock(LOCK_SUBJECT, job.repository_id) as acquired:
        first = jobs.next_unfinished(job.repository_id) if acquired else None
        if first != job:
            return False
        try:
            _run_job(job, REQUEST_RETRIES, partial(_raise_if_past, deadline))
        except (InlineTimeout, EmbeddingsBusy):
            return False
    return True


def run_folder(job: IndexJob, files: Iterator[SourceFile], on_progress: Callable[[indexer.Progress], None]) -> bool:
    """Run a job whose files this process reads; return False if the repository is locked."""
    with locks.try_lock(LOCK_SUBJECT, job.repository_id) as acquired:
        if acquired:
            _run_and_record(job, partial(_index, job, files, embeddings.BACKGROUND_RETRIES, on_progress))
    return acquired


def _raise_if_past(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise InlineTimeout


def _run_job(
    job: IndexJob,
    retries: int = embeddings.BACKGROUND_RETRIES,
    checkpoint: Callable[[], None] = lambda: None,
    on_write: Callable[[], None] = lambda: None,
) -> None:
    # Run a job, or end a job that has no attempts left; the caller holds the repository's lock.
    if job.attempts >= settings.RAG_ATTEMPTS or jobs.is_folder_job(job):
        jobs.mark_ended(job, IndexingInterrupted())
    elif job.kind == JobKind.REINDEX:
        _run_and_record(job, partial(reindexing.reindex, job, checkpoint, on_write))
    else:
        _run_and_record(
            job, partial(_index, job, jobs.read_uploads(job), retries, checkpoint=checkpoint, on_write=on_write)
        )


def _run_and_record(job: IndexJob, work: Callable[[], None]) -> None:
    jobs.mark_running(job)
    try:
        work()
    except (OperationalError, InterfaceError, InlineTimeout, TurnOver, WorkerStopping, EmbeddingsBusy):
        raise  # the job stays unfinished, and another process or a later turn continues it
    except LunaError as e:
        jobs.mark_ended(job, e)
    except (Repository.DoesNotExist, IntegrityError):  # the repository was deleted meanwhile
        jobs.mark_ended(job, UnknownRepository())
    except Exception:
        logger.exception("Index job %s failed", job.pk)
        jobs.mark_ended(job, LunaError())
    else:
        jobs.mark_ended(job)


def _index(
    job: IndexJob,
    files: Iterator[SourceFile],
    retries: int,
    on_progress: Callable[[indexer.Progress], None] = lambda progress: None,
    checkpoint: Callable[[], None] = lambda: None,
    on_write: Callable[[], None] = lambda: None,
) -> None:
    repository = Repository.objects.get(pk=job.repository_id)
    embedder = embeddings.embedder_for(repository.model, retries=retries)
    if embedder.dimension:  # None for the previous model, whose index exists
        vectors.ensure_index(embedder.model, embedder.dimension)

    def report(progress: indexer.Progress) -> None:
        jobs.record_progress(job, progress)
        on_progress(progress)
        if progress.paths:
            on_write()

    indexer.index_files(repository, files, embedder, report, checkpoint, job.pk)
    Repository.objects.filter(pk=repository.pk).update(updated_at=Now())
    terms.recount_terms(repository)
