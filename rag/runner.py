"""Does a repository's jobs, one after the other: whoever holds its lock does the work of all.

The advisory lock on the repository says who is at it. It goes with its holder's connection, so a job that is `running`
without it has lost its worker, and whoever takes the lock next goes on with it: files that had been done are marked as
done, and those that are done twice replace themselves.
"""

import logging
import time
from collections.abc import Callable, Iterator
from functools import partial

from django.conf import settings
from django.db import IntegrityError, InterfaceError, OperationalError
from django.db.models.functions import Now

from lunaos.errors import LunaError
from rag import embedders, indexer, jobs, locks, reindexing, terms, vectors
from rag.errors import EmbeddingsBusy, IndexingInterrupted, UnknownRepository
from rag.indexer import SourceFile
from rag.models import IndexJob, JobKind, Repository

SUBJECT = "rag.repository"
PATIENT_RETRIES = 6  # half a minute of an embedding server that restarts
QUICK_RETRIES = 1  # where a request waits, and with it a thread of the web process
HANDED_OVER_AFTER_S = 5.0  # by a request to a worker: what looked small may be many chunks, or the model busy
logger = logging.getLogger(__name__)


class TakesLonger(Exception):
    """A request has had its time; a worker is to go on with its job."""


def run(repository_id: int) -> None:
    """Do all jobs of a repository; returns at once where somebody else is at it, who will do them."""
    while jobs.next_of(repository_id):
        with locks.held(SUBJECT, repository_id) as mine:
            if not mine:
                return
            while job := jobs.next_of(repository_id):
                _execute(job)
        # a job that came between the last look and the lock's release found it taken: look again


def run_alone(job: IndexJob) -> bool:
    """Do a job here and now, where its repository is free.

    Returns:
        False where it has to queue up, or takes longer; what has been done by then stays done.
    """
    deadline = time.monotonic() + HANDED_OVER_AFTER_S

    with locks.held(SUBJECT, job.repository_id) as mine:
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
    with locks.held(SUBJECT, job.repository_id) as mine:
        if mine:
            _guarded(job, partial(_index, job, files, PATIENT_RETRIES, told))
    return mine


def _within(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise TakesLonger


def _execute(job: IndexJob, retries: int = PATIENT_RETRIES, before: Callable[[], None] = lambda: None) -> None:
    if job.attempts >= settings.RAG_ATTEMPTS or jobs.is_unattended(job):
        jobs.end(job, IndexingInterrupted())
    elif job.kind == JobKind.REINDEX:
        _guarded(job, partial(reindexing.reindex, job))
    else:
        _guarded(job, partial(_index, job, jobs.uploads(job), retries, before=before))


def _guarded(job: IndexJob, work: Callable[[], None]) -> None:
    """A job ends whatever happens, except with the database or its time: then somebody else goes on with it."""
    jobs.begin(job)
    try:
        work()
    except (OperationalError, InterfaceError, TakesLonger, EmbeddingsBusy):
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
) -> None:
    repository = Repository.objects.get(pk=job.repository_id)
    embedder = embedders.of(repository.model, retries=retries)
    if embedder.dimension:  # of a model before today's the index is there
        vectors.ensure_index(embedder.model, embedder.dimension)

    def report(progress: indexer.Progress) -> None:
        jobs.report(job, progress)
        told(progress)

    indexer.index(repository, files, embedder, report, before)
    Repository.objects.filter(pk=repository.pk).update(updated_at=Now())
    terms.count(repository)
