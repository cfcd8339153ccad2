"""Code search's part of what is known of a user: repositories, their files as they were cut, and jobs."""

from collections.abc import Iterable, Iterator

from accounts.models import User
from accounts.privacy import registry
from accounts.privacy.registry import Row
from rag.models import Chunk, File, IndexJob, Repository, Upload

FILES_PER_PAGE = 20  # of files, which may be long
INTERNAL_COLUMNS = ("repository_id", "file_id", "terms", "id")


def export(user: User) -> Iterator[tuple[str, Row | Iterable[Row]]]:
    owned = Repository.objects.filter(user=user)
    repositories = (registry.columns(each, "user_id") for page in registry.in_pages(owned) for each in page)
    yield "repositories", repositories
    yield "files", (row for page in registry.in_pages(owned) for each in page for row in _files(each))
    jobs = IndexJob.objects.filter(repository__user=user)
    yield "indexJobs", (registry.columns(job) for page in registry.in_pages(jobs) for job in page)
    waiting = Upload.objects.filter(job__repository__user=user)
    yield "uploads", (registry.columns(each) for page in registry.in_pages(waiting, FILES_PER_PAGE) for each in page)


def prepare(user: User) -> None:
    """A job that is under way finds its repository gone, and ends."""


def disown(user: User) -> None:
    """Nothing of it gives access."""


def erase(user: User) -> None:
    """All that lies below a repository goes with it, by the database's own cascades."""
    Repository.objects.filter(user=user).delete()


def _files(repository: Repository) -> Iterator[Row]:
    for page in registry.in_pages(File.objects.filter(repository=repository), FILES_PER_PAGE):
        chunks = list(Chunk.objects.filter(file__in=page).order_by("file_id", "position"))
        for file in page:
            rows = [registry.columns(chunk, *INTERNAL_COLUMNS) for chunk in chunks if chunk.file_id == file.pk]
            yield {"repository": repository.name, **registry.columns(file, *INTERNAL_COLUMNS), "chunks": rows}
