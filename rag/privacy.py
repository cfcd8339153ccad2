"""A user's personal data in code search: repositories, files as chunks, and jobs."""

from collections.abc import Iterable, Iterator

from accounts.models import User
from accounts.privacy import registry
from accounts.privacy.registry import Row
from rag.models import Chunk, File, IndexJob, Repository, Upload

FILES_PER_PAGE = 20  # few, since files may be long
INTERNAL_COLUMNS = ("repository_id", "file_id", "terms", "id")


def export(user: User) -> Iterator[tuple[str, Row | Iterable[Row]]]:
    """Yield the user's repositories, files, jobs and waiting uploads."""
    owned = Repository.objects.filter(user=user)
    repositories = (registry.columns(each, "user_id") for page in registry.in_pages(owned) for each in page)
    yield "repositories", repositories
    yield "files", (row for page in registry.in_pages(owned) for each in page for row in _files(each))
    jobs = IndexJob.objects.filter(repository__user=user)
    yield "indexJobs", (registry.columns(job) for page in registry.in_pages(jobs) for job in page)
    waiting = Upload.objects.filter(job__repository__user=user)
    yield "uploads", (registry.columns(each) for page in registry.in_pages(waiting, FILES_PER_PAGE) for each in page)


def prepare(user: User) -> None:
    """Do nothing: a running job ends when its repository is gone."""


def disown(user: User) -> None:
    """Do nothing: no row of code search grants access."""


def erase(user: User) -> None:
    """Delete the user's repositories; the database cascades to their rows."""
    Repository.objects.filter(user=user).delete()


def _files(repository: Repository) -> Iterator[Row]:
    for page in registry.in_pages(File.objects.filter(repository=repository), FILES_PER_PAGE):
        chunks = list(Chunk.objects.filter(file__in=page).order_by("file_id", "position"))
        for file in page:
            rows = [registry.columns(chunk, *INTERNAL_COLUMNS) for chunk in chunks if chunk.file_id == file.pk]
            yield {"repository": repository.name, **registry.columns(file, *INTERNAL_COLUMNS), "chunks": rows}
