"""Errors of code search, with code, status and message."""

from types import MappingProxyType

from lunaos.errors import LunaError


class UnknownRepository(LunaError):
    code, status, message = "unknown_repository", 404, "There is no such repository."
    members = MappingProxyType({"available": ["default"]})


class StorageLimitReached(LunaError):
    code, status, message = "storage_limit_reached", 403, "The files exceed your tier's storage in code search."
    is_refusal = True
    members = MappingProxyType(
        {
            "tier": "free",
            "resource": "bytes",
            "used": 99_000_000,
            "limit": 100_000_000,
            "upgradeUrl": "https://lunaos.example/pricing?tier=pro",
            "message": "The free tier holds 100000000 bytes of files in code search, and you have 99000000. Delete "
            "some, or upgrade.",
        }
    )


class BacklogFull(LunaError):
    code, status, message = (
        "backlog_full",
        429,
        "Too many of your files wait for indexing. Send more after some are indexed.",
    )
    is_refusal = True
    members = MappingProxyType({"waitingBytes": 67_108_864, "limit": 67_108_864})


class ReindexRequired(LunaError):
    code, status, message = (
        "reindex_required",
        409,
        "The repository was indexed with another embedding model. An operator has to run `manage.py reindex`.",
    )


class RepositoryBusy(Exception):
    """Another process is indexing the repository; raised for commands only, requests wait."""


class IndexingInterrupted(LunaError):
    code, status, message = "indexing_interrupted", 500, "Indexing was interrupted. Send the files again."


class EmbeddingsNotConfigured(LunaError):
    code, status, message = "embeddings_not_configured", 503, "No embedding model is set up on this server."


class EmbeddingsUnavailable(LunaError):
    code, status, message = "embeddings_unavailable", 503, "The embedding model cannot be reached."


class EmbeddingsBusy(EmbeddingsUnavailable):
    """All request slots of this process are taken; the caller should wait elsewhere."""


class EmbeddingsFailed(LunaError):
    code, status, message = "embeddings_error", 502, "The embedding model refuses the request."
