"""Does a repository's jobs, one after the other: whoever holds its lock does the work of all, and lets other owners by.

The advisory lock on the repository says who is at it. It goes with its holder's connection, so a job that is `running`
without it has lost its worker, and whoever takes the lock next goes on with it: files that had been done are marked as
done, and those that are done twice replace themselves.
"""

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
from rag.errors import EmbeddingsBusy, IndexingInterrupted, UnknownRepository
from rag.indexing import indexer, jobs, queue, reindexing
from rag.indexing.indexer import SourceFile
from rag.indexing.owner_turns import Turn, TurnOver
from rag.models import IndexJob, JobKind, Repository
from rag.search import embeddings, terms, vectors

LOCK_SUBJECT = "rag.repository"
BACKGROUND_RETRIES = 6  # half a minute of an embedding server that restarts
REQUEST_RETRIES = 1  # where a request waits, and with it a thread of the web process
INLINE_TIMEOUT_S = 5.0  # by a request to a worker: what looked small may be many chunks, or the model busy
logger = logging.getLogger(__name__)


class InlineTimeout(Exception):
    """A request has had its time; a worker is to go on with its job."""


def run(repository_id: int) -> None:
    """Do all jobs of a repository, between which other owners get turns.

    Returns at once where another process is at it, which will do them.
    """
    while first := jobs.next_unfinished(repository_id):
        with locks.try_lock(LOCK_SUBJECT, repository_id) as acquired:
            if not acquired:
                return
            turn = Turn((jobs.owner_id(first),))
            while job := jobs.next_unfinished(repository_id):
                _run_job(job, checkpoint=partial(_yield_to_others, turn, job))
                _yield_to_others(turn)  # where nothing has changed there was no request to the model
        # a job that came between the last look and the lock's release found it taken: look again


def _yield_to_others(turn: Turn, job: IndexJob | None = None) -> None:
    turn.yield_to_others(partial(_run_turn, job))


def _run_turn(outer: IndexJob | None, repository_id: int, turn: Turn) -> None:
    """Do another owner's jobs until the turn is over; what is left is for a worker, or for a later turn.

    Args:
        outer: the job that is under way meanwhile.
    """
    with locks.try_lock(LOCK_SUBJECT, repository_id) as acquired:
        if acquired:
            with jobs.suspend_attempt(outer) if outer else nullcontext():
                _run_until_over(repository_id, turn)
    if acquired and jobs.next_unfinished(repository_id):
        with suppress(*queue.CONNECTION_ERRORS):  # a worker may have found it taken, and its message is gone
            queue.enqueue(repository_id)


def _run_until_over(repository_id: int, turn: Turn) -> None:
    while job := jobs.next_unfinished(repository_id):
        try:
            _run_job(job, checkpoint=partial(_yield_to_others, turn, job), on_write=turn.raise_if_over)
        except TurnOver:
            jobs.uncount_attempt(job)
        if turn.is_over():
            return


def run_inline(job: IndexJob) -> bool:
    """Do a job here and now, where its repository is free.

    Returns:
        False where it has to queue up, or takes longer; what has been done by then stays done.
    """
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
    """Do a job whose files this process reads, where its repository is free.

    Args:
        on_progress: hears of the progress too.
    """
    with locks.try_lock(LOCK_SUBJECT, job.repository_id) as acquired:
        if acquired:
            _run_and_record(job, partial(_index, job, files, BACKGROUND_RETRIES, on_progress))
    return acquired


def _raise_if_past(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise InlineTimeout


def _run_job(
    job: IndexJob,
    retries: int = BACKGROUND_RETRIES,
    checkpoint: Callable[[], None] = lambda: None,
    on_write: Callable[[], None] = lambda: None,
) -> None:
    """Do a job.

    Args:
        checkpoint: called before each file and each request to the model.
        on_write: called when something has been written.
    """
    if job.attempts >= settings.RAG_ATTEMPTS or jobs.is_folder_job(job):
        jobs.mark_ended(job, IndexingInterrupted())
    elif job.kind == JobKind.REINDEX:
        _run_and_record(job, partial(reindexing.reindex, job, checkpoint, on_write))
    else:
        _run_and_record(
            job, partial(_index, job, jobs.read_uploads(job), retries, checkpoint=checkpoint, on_write=on_write)
        )


def _run_and_record(job: IndexJob, work: Callable[[], None]) -> None:
    """A job ends whatever happens, except with the database or its time: then somebody else goes on with it."""
    jobs.mark_running(job)
    try:
        work()
    except (OperationalError, InterfaceError, InlineTimeout, TurnOver, EmbeddingsBusy):
        raise
    except LunaError as e:
        jobs.mark_ended(job, e)
    except (Repository.DoesNotExist, IntegrityError):  # it was deleted meanwhile
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
    if embedder.dimension:  # of a model before today's the index is there
        vectors.ensure_index(embedder.model, embedder.dimension)

    def report(progress: indexer.Progress) -> None:
        jobs.record_progress(job, progress)
        on_progress(progress)
        if progress.paths:
            on_write()

    indexer.index_files(repository, files, embedder, report, checkpoint, job.pk)
    Repository.objects.filter(pk=repository.pk).update(updated_at=Now())
    terms.recount_terms(repository)
