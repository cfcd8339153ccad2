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
from rag import stopping
from rag.errors import EmbeddingsBusy, IndexingInterrupted, UnknownRepository
from rag.indexing import indexer, jobs, queue, reindexing
from rag.indexing.indexer import SourceFile
from rag.indexing.owner_turns import Turn, TurnOver
from rag.models import IndexJob, JobKind, Repository
from rag.search import embeddings, terms, vectors
from rag.stopping import WorkerStops

SUBJECT = "rag.repository"
PATIENT_RETRIES = 6  # half a minute of an embedding server that restarts
QUICK_RETRIES = 1  # where a request waits, and with it a thread of the web process
HANDED_OVER_AFTER_S = 5.0  # by a request to a worker: what looked small may be many chunks, or the model busy
logger = logging.getLogger(__name__)


class TakesLonger(Exception):
    """A request has had its time; a worker is to go on with its job."""


def run(repository_id: int) -> None:
    """Do all jobs of a repository, between which other owners get turns.

    Returns at once where another process is at it, which will do them.
    """
    while first := jobs.next_of(repository_id):
        with locks.try_lock(SUBJECT, repository_id) as mine:
            if not mine:
                return
            _do_all(repository_id, Turn((jobs.owner_of(first),)))
        if stopping.is_asked():
            _hand_back(repository_id)
            return
        # a job that came between the last look and the lock's release found it taken: look again


def _do_all(repository_id: int, turn: Turn) -> None:
    """Do the jobs of a repository until there are none, or the worker is asked to stop."""
    while not stopping.is_asked() and (job := jobs.next_of(repository_id)):
        try:
            _execute(job, before=partial(_let_others, turn, job))
        except WorkerStops:
            jobs.put_back(job)
            return
        _let_others(turn)  # where nothing has changed there was no request to the model


def _hand_back(repository_id: int) -> None:
    """Have another worker go on with what is left of a repository; beat does where the queue cannot be reached."""
    if jobs.next_of(repository_id):
        with suppress(*queue.DOWN):
            queue.enqueue(repository_id)


def _let_others(turn: Turn, job: IndexJob | None = None) -> None:
    if job:
        stopping.require_time()
    if not stopping.is_asked():
        turn.let_others(partial(_take_turn, job))


def _take_turn(outer: IndexJob | None, repository_id: int, turn: Turn) -> None:
    """Do another owner's jobs until the turn is over; what is left is for a worker, or for a later turn.

    Args:
        outer: the job that is under way meanwhile.
    """
    with locks.try_lock(SUBJECT, repository_id) as mine:
        if mine:
            with jobs.set_aside(outer) if outer else nullcontext():
                _until_over(repository_id, turn)
    if mine:
        _hand_back(repository_id)  # a worker may have found it taken, and its message is gone


def _until_over(repository_id: int, turn: Turn) -> None:
    while job := jobs.next_of(repository_id):
        try:
            _execute(job, before=partial(_let_others, turn, job), after=turn.stop)
        except (TurnOver, WorkerStops):
            jobs.put_back(job)
        if turn.is_over() or stopping.is_asked():
            return


def run_alone(job: IndexJob) -> bool:
    """Do a job here and now, where its repository is free.

    Returns:
        False where it has to queue up, or takes longer; what has been done by then stays done.
    """
    deadline = time.monotonic() + HANDED_OVER_AFTER_S

    with locks.try_lock(SUBJECT, job.repository_id) as mine:
        first = jobs.next_of(job.repository_id) if mine else None
        if first != job:
            return False
        try:
            _execute(job, QUICK_RETRIES, partial(_within, deadline))
        except (TakesLonger, EmbeddingsBusy):
            return False
    return True


def run_folder(job: IndexJob, files: Iterator[SourceFile], told: Callable[[indexer.Progress], None]) -> bool:
    """Do a job whose files this process reads, where its repository is free.

    Args:
        told: hears of the progress too.
    """
    with locks.try_lock(SUBJECT, job.repository_id) as mine:
        if mine:
            _guarded(job, partial(_index, job, files, PATIENT_RETRIES, told))
    return mine


def _within(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise TakesLonger


def _execute(
    job: IndexJob,
    retries: int = PATIENT_RETRIES,
    before: Callable[[], None] = lambda: None,
    after: Callable[[], None] = lambda: None,
) -> None:
    """Do a job.

    Args:
        before: called before each file and each request to the model.
        after: called when something has been written.
    """
    if job.attempts >= settings.RAG_ATTEMPTS or jobs.is_unattended(job):
        jobs.end(job, IndexingInterrupted())
    elif job.kind == JobKind.REINDEX:
        _guarded(job, partial(reindexing.reindex, job, before, after))
    else:
        _guarded(job, partial(_index, job, jobs.uploads(job), retries, before=before, after=after))


def _guarded(job: IndexJob, work: Callable[[], None]) -> None:
    """A job ends whatever happens, except with the database or its time: then somebody else goes on with it."""
    jobs.begin(job)
    try:
        work()
    except (OperationalError, InterfaceError, TakesLonger, TurnOver, WorkerStops, EmbeddingsBusy):
        raise
    except LunaError as e:
        jobs.end(job, e)
    except (Repository.DoesNotExist, IntegrityError):  # it was deleted meanwhile
        jobs.end(job, UnknownRepository())
    except Exception:
        logger.exception("Index job %s failed", job.pk)
        jobs.end(job, LunaError())
    else:
        jobs.end(job)


def _index(
    job: IndexJob,
    files: Iterator[SourceFile],
    retries: int,
    told: Callable[[indexer.Progress], None] = lambda progress: None,
    before: Callable[[], None] = lambda: None,
    after: Callable[[], None] = lambda: None,
) -> None:
    repository = Repository.objects.get(pk=job.repository_id)
    embedder = embeddings.of(repository.model, retries=retries)
    if embedder.dimension:  # of a model before today's the index is there
        vectors.ensure_index(embedder.model, embedder.dimension)

    def report(progress: indexer.Progress) -> None:
        jobs.report(job, progress)
        told(progress)
        if progress.paths:
            after()

    indexer.index(repository, files, embedder, report, before, job.pk)
    Repository.objects.filter(pk=repository.pk).update(updated_at=Now())
    terms.count(repository)
