"""A user's personal data in code search: repositories, files as chunks, and jobs."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from django.db.models import Func, QuerySet

from accounts.models import User
from accounts.privacy import registry
from accounts.privacy.registry import Row
from rag.models import Chunk, File, IndexJob, Repository, Upload

CHUNKS_PER_QUERY = 50  # of a file that is exported alone
UNMEASURED_BYTES = registry.MAX_BATCH_BYTES  # assumed for a file without a size, which may be long
INTERNAL_COLUMNS = ("repository_id", "file_id", "terms", "id", "measured_digest")


def export(user: User) -> Iterator[tuple[str, Row | Iterable[Row]]]:
    """Yield the user's repositories, files, jobs and waiting uploads."""
    owned = Repository.objects.filter(user=user)
    repositories = (registry.to_row(each, "user_id") for page in registry.in_pages(owned) for each in page)
    yield "repositories", repositories
    yield "files", (row for page in registry.in_pages(owned) for each in page for row in _files(each))
    jobs = IndexJob.objects.filter(repository__user=user)
    yield "indexJobs", (registry.to_row(job) for page in registry.in_pages(jobs) for job in page)
    waiting = Upload.objects.filter(job__repository__user=user)
    yield "uploads", _uploads(waiting)


def prepare_deletion(user: User) -> None:
    """Do nothing: a running job ends when its repository is gone."""


def revoke_access(user: User) -> None:
    """Do nothing: no row of code search grants access."""


def delete(user: User) -> None:
    """Delete the user's repositories; the database cascades to their rows."""
    Repository.objects.filter(user=user).delete()


def _uploads(waiting: QuerySet[Upload]) -> Iterator[Row]:
    sizes = waiting.defer("content").annotate(content_bytes=Func("content", function="octet_length"))
    sized = (upload for page in registry.in_pages(sizes) for upload in page)
    for batch in registry.in_batches(sized, _content_bytes):
        yield from map(registry.to_row, Upload.objects.filter(pk__in=[upload.pk for upload in batch]).order_by("pk"))


def _content_bytes(upload: Any) -> int:
    return int(upload.content_bytes)


def _files(repository: Repository) -> Iterator[Row]:
    sized = (file for page in registry.in_pages(File.objects.filter(repository=repository)) for file in page)
    for batch in registry.in_batches(sized, lambda file: UNMEASURED_BYTES if file.bytes is None else file.bytes):
        chunks = _all_chunks(batch) if len(batch) > 1 else {batch[0].pk: _chunks(batch[0])}
        for file in batch:
            rows = chunks.get(file.pk, iter(()))
            yield {"repository": repository.name, **registry.to_row(file, *INTERNAL_COLUMNS), "chunks": rows}


def _all_chunks(files: Sequence[File]) -> dict[int, Iterator[Row]]:
    # Read the chunks of files in one query; return them by the file's id.
    found = Chunk.objects.filter(file__in=files).defer("terms").order_by("file_id", "position")
    by_file = groupby(found, key=lambda chunk: chunk.file_id)
    return {
        file_id: iter([registry.to_row(chunk, *INTERNAL_COLUMNS) for chunk in chunks]) for file_id, chunks in by_file
    }


def _chunks(file: File) -> Iterator[Row]:
    ordered, last = Chunk.objects.filter(file=file).defer("terms").order_by("position"), -1
    while found := list(ordered.filter(position__gt=last)[:CHUNKS_PER_QUERY]):
        last = found[-1].position
        yield from map(_row, found)


def _row(chunk: Chunk) -> Row:
    return registry.to_row(chunk, *INTERNAL_COLUMNS)
