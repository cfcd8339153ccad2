"""Repositories, index jobs and search of one owner."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import DataError, IntegrityError, transaction
from django.db.models import Count, QuerySet, Sum

from accounts.models import User
from billing import limits
from lunaos.errors import NotFound
from lunaos.infra import locks
from rag import storage
from rag.errors import EmbeddingsFailed, ReindexRequired, RepositoryBusy, UnknownRepository
from rag.indexing import folders, jobs, paths, progress, queue, runner, store
from rag.indexing.indexer import Progress, SourceFile, apply_skip_rules
from rag.models import Chunk, File, IndexJob, JobKind, Repository
from rag.search import embeddings, search
from rag.search.search import Hit

DEFAULT_REPOSITORY = "default"
MAX_NAMES_LISTED = 50


@dataclass(frozen=True, slots=True)
class RepositorySummary:
    """A repository with its counts."""

    # `bytes`: stored bytes.

    name: str
    files: int
    chunks: int
    languages: dict[str, int]
    model: str
    bytes: int
    updated_at: datetime


def index_files(*, user: User, repository: str, files: Sequence[SourceFile], force: bool = False) -> IndexJob:
    """Index files: a small request here and now, a larger one in a worker.

    Raises:
        EmbeddingsNotConfigured: no server is configured; nothing was written.
        ReindexRequired: the repository's vectors are of another model than the configured one.
        StorageLimitReached: the files exceed the tier's storage.
        BacklogFull: the files fit only after waiting files are indexed.
        UnknownRepository: the repository was deleted meanwhile.
    """
    # The repository is created if missing. The paths of the files come from `paths.clean`.
    files = [apply_skip_rules(file, force=force) for file in files]
    try:
        job = _create_job(user, repository, files)
    except IntegrityError:  # the repository was deleted between the look-up and the lock
        job = _create_job(user, repository, files)
    small = sum(len(file.content or "") for file in files) <= settings.RAG_INLINE_CHARACTERS
    if not small or not runner.run_inline(job) or jobs.next_unfinished(job.repository_id):
        with suppress(*queue.CONNECTION_ERRORS):  # recovery.requeue_unfinished enqueues the job later
            queue.enqueue(job.repository_id)
    return _reload(job)


def index_folder(
    *,
    user: User,
    repository: str,
    root: Path,
    found: Sequence[str],
    on_progress: Callable[[Progress], None],
    force: bool = False,
) -> tuple[IndexJob, int]:
    """Index a folder of this machine in this process, and remove deleted files from the index.

    Raises:
        ValueError: the repository's name is invalid.
        RepositoryBusy: another process is indexing the repository.
        LunaError: the job failed with this error.
    """
    # The repository is created if missing. `found` holds paths below `root`; `on_progress` is called with the
    # progress since its last call.
    target = open_repository(user, repository)
    job = IndexJob.objects.create(repository=target, kind=JobKind.FOLDER, model=target.model, files=len(found))
    if not runner.run_folder(job, folders.read_files(root, found, force=force), on_progress):
        job.delete()
        raise RepositoryBusy()
    job = _reload(job)
    if job.error_code:
        raise progress.job_error(job)
    gone = set(File.objects.filter(repository=target).values_list("path", flat=True)) - set(found)
    return job, store.remove_files(target, gone)


def open_repository(user: User, name: str) -> Repository:
    """Return the user's repository for writing, created if missing, regardless of the tier.

    Raises:
        EmbeddingsNotConfigured: no embedding server is configured.
        ReindexRequired: the repository holds vectors of another model.
    """
    model = embeddings.current_embedder().model
    repository, _ = Repository.objects.get_or_create(user=user, name=paths.clean_name(name), defaults={"model": model})
    return _require_model(repository, model)


def _create_job(user: User, name: str, files: list[SourceFile]) -> IndexJob:
    # Create a job with its files if the owner's limits allow both, else write nothing.
    model = embeddings.current_embedder().model
    found = Repository.objects.filter(user=user, name=paths.clean_name(name)).first()
    if found:
        _require_model(found, model)
    with transaction.atomic():
        storage.lock_owner(user)
        repository = found or _make_repository(user, paths.clean_name(name), model)
        store.lock_against_deletion(repository)
        return jobs.create(repository, files, storage.check_byte_limits(user, repository, files))


def _make_repository(user: User, name: str, model: str) -> Repository:
    # Another request may have created the repository while this one waited for the lock.
    if found := Repository.objects.filter(user=user, name=name, model=model).first():
        return found
    storage.check_repository_limit(user)
    return Repository.objects.create(user=user, name=name, model=model)


def _require_model(repository: Repository, model: str) -> Repository:
    if repository.model != model:
        # A worker may be indexing the repository with the other model.
        with locks.try_lock(runner.LOCK_SUBJECT, repository.pk) as acquired:
            if not acquired or Chunk.objects.filter(repository=repository).exists():
                raise _reindex_required(repository)
            store.switch_model(repository, model)
    return repository


def find_repository(*, user: User, repository: str) -> Repository | None:
    """Return the user's repository; None for the default one before its first file.

    Raises:
        UnknownRepository: the error lists the user's repositories.
    """
    found = _by_name(user, repository).first()
    if found is None and repository != DEFAULT_REPOSITORY:
        raise _unknown_repository(user, repository)
    return found


def search_code(*, user: User, repository: str, query: str, limit: int) -> list[Hit]:
    """Return the best chunks of the user's repository for a query, best first.

    Raises:
        UnknownRepository: the error lists the user's repositories.
        ReindexRequired: no server has the model of the repository's vectors any more.
        EmbeddingsNotConfigured, EmbeddingsUnavailable, EmbeddingsFailed: the query cannot be embedded.
    """
    found = find_repository(user=user, repository=repository)
    try:
        return search.search(found, query, limit) if found else []
    except (
        EmbeddingsFailed,
        DataError,
    ) as e:  # DataError: a server that accepts any model name gives vectors of another length
        if found and found.model != settings.EMBEDDINGS_MODEL:
            raise _reindex_required(found) from e
        raise


def summarize(repositories: Sequence[Repository]) -> list[RepositorySummary]:
    """Return one summary a repository, in order, with one query."""
    counts = File.objects.filter(repository__in=repositories).values("repository_id", "language")
    rows: dict[int, list[dict[str, Any]]] = {}
    for row in counts.annotate(files=Count("pk"), total_chunks=Sum("chunks")).order_by("-files", "language"):
        rows.setdefault(row["repository_id"], []).append(dict(row))
    return [_summarize_one(each, rows.get(each.pk, [])) for each in repositories]


def storage_usage(user: User) -> dict[str, int]:
    """Return the user's storage and the limits of the user's tier."""
    tier = limits.for_owner(user)
    allowed = {"bytes_limit": tier.stored_bytes, "repositories_limit": tier.repositories}
    return {**asdict(storage.usage(user)), **allowed}


def delete_repository(*, user: User, repository: str) -> None:
    """Delete a repository with its index; a running job of the repository ends.

    Raises:
        UnknownRepository: the error lists the user's repositories.
    """
    with transaction.atomic():
        # The lock makes a concurrent request wait that adds a job; the request then finds no repository.
        found = _by_name(user, repository).select_for_update().first()
        if found is None:
            raise _unknown_repository(user, repository)
        found.delete()


def get_job(*, user: User, job_id: UUID) -> IndexJob:
    """Return a job of the user, or raise NotFound."""
    found = IndexJob.objects.select_related("repository").filter(pk=job_id, repository__user=user).first()
    if found is None:
        raise NotFound("There is no such job.")
    return found


def start_reindexing(repositories: Sequence[Repository]) -> list[IndexJob]:
    """Start one reindex job a repository that needs the configured model and has no such job."""
    model = embeddings.current_embedder().model
    started = []
    for repository in repositories:
        under_way = IndexJob.objects.filter(repository=repository, kind=JobKind.REINDEX, status__in=jobs.UNFINISHED)
        if repository.model != model and not under_way.exists():
            started.append(IndexJob.objects.create(repository=repository, kind=JobKind.REINDEX, model=model))
            with suppress(*queue.CONNECTION_ERRORS):
                queue.enqueue(repository.pk)
    return started


def _reload(job: IndexJob) -> IndexJob:
    try:
        job.refresh_from_db()
    except IndexJob.DoesNotExist as e:
        raise UnknownRepository("The repository was deleted while it was indexed.") from e
    return job


def _summarize_one(repository: Repository, rows: list[Any]) -> RepositorySummary:
    return RepositorySummary(
        name=repository.name,
        files=sum(row["files"] for row in rows),
        chunks=sum(row["total_chunks"] for row in rows),
        languages={str(row["language"]): row["files"] for row in rows},
        model=repository.model,
        bytes=repository.bytes,
        updated_at=repository.updated_at,
    )


def _by_name(user: User, name: str) -> QuerySet[Repository]:
    # Return the user's repositories of that name; none for an invalid name.
    try:
        return Repository.objects.filter(user=user, name=paths.clean_name(name))
    except ValueError:
        return Repository.objects.none()


def _unknown_repository(user: User, name: str) -> UnknownRepository:
    names = Repository.objects.filter(user=user).order_by("name").values_list("name", flat=True)
    return UnknownRepository(f"There is no repository {name!r}.", available=list(names[:MAX_NAMES_LISTED]))


def _reindex_required(repository: Repository) -> ReindexRequired:
    return ReindexRequired(
        f"The repository {repository.name!r} was indexed with {repository.model}; this server now uses "
        f"{settings.EMBEDDINGS_MODEL}. An operator has to run `manage.py reindex`."
    )
