"""Indexed code: a repository has files, a file has chunks, a chunk has vectors."""

# The database's own cascades delete the rows of a repository: a repository may have a hundred thousand of them.

import uuid

from django.conf import settings
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.db import models
from pgvector.django import HalfVectorField


class JobStatus(models.TextChoices):
    """The state of an index job."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class JobKind(models.TextChoices):
    """The source of a job's files."""

    UPLOAD = "upload", "sent to the API"
    FOLDER = "folder", "read from a folder by a command"
    REINDEX = "reindex", "the stored chunks, for another embedding model"


class Repository(models.Model):
    """A user's named collection of files."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="repositories")
    name = models.CharField(max_length=256)
    model = models.CharField(max_length=128, help_text="The embedding model by whose vectors it is searched.")
    chunks = models.PositiveIntegerField(default=0, help_text="When its terms were last counted.")
    bytes = models.BigIntegerField(default=0, db_default=0, help_text="The sum of its files' bytes; store.py keeps it.")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name_plural = "repositories"
        ordering = ("name",)
        constraints = (models.UniqueConstraint(fields=("user", "name"), name="one_repository_a_name"),)

    def __str__(self) -> str:
        return self.name


class _OfRepository(models.Model):
    repository = models.ForeignKey(Repository, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False)

    class Meta:
        abstract = True


class File(_OfRepository):
    """An indexed file, without its content; the digest tells whether the file changed."""

    path = models.CharField(max_length=512)
    digest = models.CharField(max_length=64, help_text="SHA-256 of the content and the way it is cut.")
    language = models.CharField(max_length=32)
    chunks = models.PositiveIntegerField()
    bytes = models.BigIntegerField(
        null=True, help_text="As in sizes.py; null until measured, in rows of older versions."
    )
    measured_digest = models.CharField(
        max_length=64,
        default="",
        db_default="",
        help_text="Of the content that has these bytes; an older release leaves it behind.",
    )
    indexed_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("repository", "path"), name="one_file_a_path"),)
        indexes = (
            models.Index(fields=("repository",), name="rag_unmeasured_files", condition=models.Q(bytes__isnull=True)),
        )

    def __str__(self) -> str:
        return self.path


class Chunk(_OfRepository):
    """A part of a file that is understandable alone, with its search terms."""

    file = models.ForeignKey(File, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False)
    position = models.PositiveIntegerField(help_text="In the file, from 0.")
    symbol = models.TextField(help_text="Qualified name of the function or class; empty outside of any.")
    signature = models.TextField(help_text="Of the function or class, without its body.")
    start_line = models.PositiveIntegerField(help_text="From 1.")
    end_line = models.PositiveIntegerField(help_text="The last one included.")
    content = models.TextField()
    terms = SearchVectorField(help_text="Its words, each marked with the repository: `42:parse` (rag.search.words).")

    class Meta:
        constraints = (models.UniqueConstraint(fields=("file", "position"), name="one_chunk_a_position"),)
        indexes = (
            models.Index(fields=("repository",), name="rag_chunks_of_repository"),
            GinIndex(fields=("terms",), name="rag_chunk_terms"),
        )

    def __str__(self) -> str:
        return f"chunk {self.position} of file {self.file_id}"


class Vector(_OfRepository):
    """A chunk's embedding by one model."""

    # A chunk has two while its repository is reindexed.

    chunk = models.ForeignKey(Chunk, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False)
    model = models.CharField(max_length=128)
    embedding = HalfVectorField(help_text="Half precision; its length is the model's.")

    class Meta:
        constraints = (models.UniqueConstraint(fields=("chunk", "model"), name="one_vector_a_model"),)
        indexes = (models.Index(fields=("repository", "model"), name="rag_vectors_of_repository"),)

    def __str__(self) -> str:
        return f"vector of chunk {self.chunk_id} by {self.model}"


class Term(_OfRepository):
    """The number of a repository's chunks with a word, so that rare words weigh more."""

    word = models.TextField()
    chunks = models.PositiveIntegerField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("repository", "word"), name="one_row_a_term"),)

    def __str__(self) -> str:
        return self.word


class IndexJob(models.Model):
    """A request to index files; jobs of one repository run one after the other."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    repository = models.ForeignKey(Repository, on_delete=models.CASCADE, related_name="jobs")
    kind = models.CharField(max_length=16, choices=JobKind.choices, default=JobKind.UPLOAD)
    model = models.CharField(max_length=128, help_text="The embedding model it is to be done with.")
    status = models.CharField(max_length=16, choices=JobStatus.choices, default=JobStatus.QUEUED)
    error_code = models.CharField(max_length=64, blank=True)
    error = models.TextField(blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    revision = models.PositiveIntegerField(default=0, help_text="Counts the changes; the position of its last event.")
    files = models.PositiveIntegerField(default=0, help_text="In all; 0 while a folder is being read.")
    files_done = models.PositiveIntegerField(default=0)
    unchanged = models.PositiveIntegerField(default=0)
    chunks = models.PositiveIntegerField(default=0, help_text="Vectors that the files done have in the index.")
    skipped = models.JSONField(default=list, help_text="Files left out: path and reason.")
    skipped_files = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-created_at",)
        indexes = (
            models.Index(
                fields=("repository", "created_at"),
                name="rag_unfinished_jobs",
                condition=models.Q(status__in=("queued", "running")),
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.status} {self.id}"


class Upload(models.Model):
    """A file of a job that is not done yet; the row is deleted when the file is done."""

    job = models.ForeignKey(IndexJob, on_delete=models.CASCADE, related_name="uploads")
    path = models.CharField(max_length=512)
    content = models.TextField()
    reason = models.CharField(max_length=16, blank=True, help_text="Why it is left out; its content is not kept then.")
    bytes = models.BigIntegerField(default=0, db_default=0, help_text="Waiting; 0 as soon as the file is in the index.")
    growth = models.BigIntegerField(
        default=0, db_default=0, help_text="By how much the file may enlarge the repository; 0 likewise."
    )

    def __str__(self) -> str:
        return self.path
