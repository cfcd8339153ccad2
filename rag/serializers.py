"""Requests and responses of code search."""

from collections.abc import Callable
from typing import Any

from django.core.validators import ProhibitNullCharactersValidator
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from lunaos.api.fields import BoundedListField, is_blank
from lunaos.api.serializers import QuerySerializer, RequestSerializer
from lunaos.infra import visible_text
from rag.indexing import decoding, paths, progress, skip_rules
from rag.indexing.indexer import SourceFile
from rag.models import IndexJob
from rag.services import DEFAULT_REPOSITORY

MAX_FILES, MAX_PATH_LENGTH, MAX_NAME_LENGTH = 100, 512, 256
MAX_REPOSITORIES_PER_PAGE = 1_000


class StringField(serializers.CharField):
    """A string field that refuses numbers, and checks the length before other rules."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        value = super().to_internal_value(data)
        if self.max_length is not None and len(value) > self.max_length:
            self.fail("max_length", max_length=self.max_length)
        if is_blank(value) and not self.allow_blank:
            self.fail("blank")
        return value


class RepositoryNameField(StringField):
    """A repository's name; slashes are allowed."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=MAX_NAME_LENGTH, required=False, default=DEFAULT_REPOSITORY, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        return _validate_with(paths.clean_name, super().to_internal_value(data))


class PathField(StringField):
    """A relative path with `/` as separator. A path that is refused costs its file, not the request."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.validators = [each for each in self.validators if not isinstance(each, ProhibitNullCharactersValidator)]


class ContentField(StringField):
    """A file's text. NUL is accepted: a file with NUL is skipped as binary."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(trim_whitespace=False, allow_blank=True, **kwargs)
        self.validators = [each for each in self.validators if not isinstance(each, ProhibitNullCharactersValidator)]


class SourceFileSerializer(RequestSerializer):
    path = PathField(max_length=MAX_PATH_LENGTH, trim_whitespace=False)
    content = ContentField(max_length=skip_rules.MAX_CHARACTERS)


class IndexSerializer(RequestSerializer):
    files = BoundedListField(child=SourceFileSerializer(), min_length=1, max_length=MAX_FILES)
    repository = RepositoryNameField()
    force = serializers.BooleanField(
        required=False, default=False, help_text="Index files that look `generated` or `minified`, too."
    )

    def validate_files(self, files: list[dict[str, str]]) -> list[SourceFile]:
        found = [_source_file(**file) for file in files]
        seen = [None if file.reason == skip_rules.BAD_PATH else file.path for file in found]
        if repeated := [n for n, path in enumerate(seen) if path and path in seen[:n]]:
            raise serializers.ValidationError(
                {str(n): {"path": ["The request has this path more than once."]} for n in repeated}, "unique"
            )
        return found


class SkippedSerializer(serializers.Serializer[Any]):
    path = serializers.CharField()
    reason = serializers.CharField(
        help_text="`secret`, `binary`, `oversized`, `minified`, `generated` or `bad_path` (a control character, `..`, "
        "an absolute path); in a folder also `unreadable`."
    )


class IndexedSerializer(serializers.Serializer[Any]):
    """The outcome of a request; its files are in the index completely."""

    indexed = serializers.SerializerMethodField(help_text="Files that are in the index now, unchanged ones included.")
    vectors = serializers.IntegerField(source="chunks", help_text="Chunks of these files in the index.")
    repository = serializers.CharField(source="repository.name")
    message = serializers.SerializerMethodField()
    unchanged = serializers.IntegerField(help_text="Files of `indexed` that cost nothing.")
    skipped = SkippedSerializer(many=True)
    jobId = serializers.UUIDField(source="id")

    def get_indexed(self, job: IndexJob) -> int:
        return job.files_done - job.skipped_files

    def get_message(self, job: IndexJob) -> str:
        left_out = f", {job.skipped_files} skipped" if job.skipped_files else ""
        return f"{self.get_indexed(job)} files indexed, {job.unchanged} of them unchanged{left_out}."


class JobSerializer(serializers.ModelSerializer[IndexJob]):
    repository = serializers.CharField(source="repository.name")
    errorCode = serializers.CharField(source="error_code", help_text="Empty unless the job failed.")
    filesDone = serializers.IntegerField(source="files_done", help_text="Unchanged and skipped files included.")
    filesPerSecond = serializers.SerializerMethodField()
    skipped = SkippedSerializer(many=True)
    skippedFiles = serializers.IntegerField(source="skipped_files")
    createdAt = serializers.DateTimeField(source="created_at")
    startedAt = serializers.DateTimeField(source="started_at", allow_null=True)
    finishedAt = serializers.DateTimeField(source="finished_at", allow_null=True)

    class Meta:
        model = IndexJob
        fields = (
            *("id", "repository", "kind", "status", "errorCode", "error", "files", "filesDone", "unchanged", "chunks"),
            *("filesPerSecond", "skipped", "skippedFiles", "createdAt", "startedAt", "finishedAt"),
        )

    def get_filesPerSecond(self, job: IndexJob) -> float:  # noqa: N802 - named after the field
        return progress.files_per_second(job)


class LastChangeSerializer(serializers.Serializer[Any]):
    """The Last-Event-ID header of a client (WHATWG HTML 9.2.4)."""

    # Ids are a job's revisions.

    def get_fields(self) -> dict[str, serializers.Field]:
        return {"Last-Event-ID": serializers.IntegerField(min_value=-1, max_value=2**31)}


class SearchSerializer(RequestSerializer):
    query = StringField(max_length=2_000)
    repository = RepositoryNameField()
    limit = serializers.IntegerField(min_value=1, max_value=20, required=False, default=5)


class HitSerializer(serializers.Serializer[Any]):
    path = serializers.CharField()
    content = serializers.CharField()
    score = serializers.FloatField(min_value=0, max_value=1)
    chunk = serializers.IntegerField(help_text="Position of the chunk in the file, from 0.")
    symbol = serializers.CharField(help_text="Function, class or section; empty outside of any.")
    language = serializers.CharField()
    startLine = serializers.IntegerField(source="start_line")
    endLine = serializers.IntegerField(source="end_line")


class FoundSerializer(serializers.Serializer[Any]):
    results = HitSerializer(many=True)
    query = serializers.CharField()
    total = serializers.IntegerField()


class RepositorySerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    files = serializers.IntegerField()
    chunks = serializers.IntegerField()
    languages = serializers.SerializerMethodField(help_text="Number of files by language, in descending order.")
    model = serializers.CharField(help_text="Embedding model of the vectors that searches use.")
    bytes = serializers.IntegerField(help_text="Size of files and paths, as counted in `storage`.")
    updatedAt = serializers.DateTimeField(source="updated_at")

    @extend_schema_field({"type": "object", "additionalProperties": {"type": "integer"}})
    def get_languages(self, repository: Any) -> dict[str, int]:
        return dict(repository.languages)


class StorageSerializer(serializers.Serializer[Any]):
    """Your storage in code search, and the limits of your tier."""

    bytes = serializers.IntegerField(help_text="Size of the indexed files of all repositories.")
    waitingBytes = serializers.IntegerField(source="waiting", help_text="Size of the files that wait for indexing.")
    bytesLimit = serializers.IntegerField(source="bytes_limit")
    repositories = serializers.IntegerField()
    repositoriesLimit = serializers.IntegerField(source="repositories_limit")


class PageSerializer(QuerySerializer):
    """The list's query parameters."""

    limit = serializers.IntegerField(
        min_value=1,
        max_value=MAX_REPOSITORIES_PER_PAGE,
        required=False,
        help_text="Repositories per page, 1 000 by default.",
    )
    cursor = serializers.CharField(required=False, help_text="`nextCursor` of the previous page.")


class RepositoryListSerializer(serializers.Serializer[Any]):
    repositories = RepositorySerializer(many=True)
    nextCursor = serializers.CharField(allow_null=True, help_text="Send as `cursor` for the next page.")
    storage = StorageSerializer()


def _source_file(path: str, content: str) -> SourceFile:
    try:
        return SourceFile(paths.clean(path), decoding.normalize(content))
    except ValueError:
        return SourceFile(visible_text.escape_invisible(path)[:MAX_PATH_LENGTH], None, skip_rules.BAD_PATH)


def _validate_with(rule: Callable[[str], str], value: str) -> str:
    try:
        return rule(value)
    except ValueError as e:
        raise serializers.ValidationError(str(e), "invalid") from e
