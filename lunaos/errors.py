"""Errors that clients see: the base class and the errors of several apps."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

MAX_FIELD_ERRORS = 20  # in one answer
MAX_ERROR_BYTES = 65_536  # of an error answer


class LunaError(Exception):
    """An error of the contract; domains raise it, `lunaos.api.exceptions` renders it."""

    # `retry_after`: seconds until another try makes sense; sent as `Retry-After`. `extra`: further members of the
    # error object; `members` holds examples for the OpenAPI document.

    code: str = "internal_error"
    status: int = 500
    message: str = "Something went wrong on our side."
    members: Mapping[str, Any] = MappingProxyType({})
    is_refusal: bool = False  # whether support sees the answer in the table of refusals

    def __init__(self, message: str | None = None, /, *, retry_after: int | None = None, **extra: Any) -> None:
        super().__init__(message or self.message)
        self.retry_after = retry_after
        self.extra = extra

    @classmethod
    def with_code(cls, code: str, message: str, *, retry_after: int | None = None) -> "LunaError":
        """Return the error of a code that another process raised."""
        kind = next((each for each in cls.kinds() if each.code == code), cls)
        error = LunaError(message, retry_after=retry_after)
        error.code, error.status = code, kind.status
        return error

    @classmethod
    def kinds(cls) -> "Iterator[type[LunaError]]":
        yield cls
        for kind in cls.__subclasses__():
            yield from kind.kinds()

    @property
    def body(self) -> dict[str, Any]:
        """Return the error object of the contract, without `detail`."""
        return {"error": str(self), "code": self.code, **self.extra}


class ValidationFailed(LunaError):
    code, status, message = "validation_error", 400, "The request has invalid fields."
    members = MappingProxyType(
        {"fields": [{"field": "context", "message": "This field is required.", "code": "required"}]}
    )

    @classmethod
    def for_field(cls, field: str, message: str, code: str = "invalid") -> "ValidationFailed":
        """Return the error of one field, a dotted path such as `files.0.path`."""
        return cls(fields=[{"field": field, "message": message, "code": code}])


class MalformedJson(LunaError):
    code, status, message = "malformed_json", 400, "The request body is not valid JSON."


class PayloadTooLarge(LunaError):
    code, status, message = "payload_too_large", 413, "The request body is too large."


class BadRequest(LunaError):
    code, status, message = "bad_request", 400, "The request cannot be understood."


class UriTooLong(LunaError):
    code, status, message = "uri_too_long", 414, "The request line is longer than 4096 bytes."


class HeadersTooLarge(LunaError):
    code, status, message = "headers_too_large", 431, "The headers are larger than 16384 bytes."


class RequestTimeout(LunaError):
    code, status, message = "request_timeout", 408, "The request came too slowly. Send it again."


class UnsupportedMediaType(LunaError):
    code, status, message = ("unsupported_media_type", 415, "Send JSON: Content-Type: application/json.")


class RateLimited(LunaError):
    code, status, message = ("rate_limited", 429, "Too many requests. Try again when the window has passed.")
    is_refusal = True
    members = MappingProxyType({"limit": 60, "tier": "free", "upgradeUrl": "https://lunaos.example/pricing?tier=pro"})


class NotFound(LunaError):
    code, status, message = "not_found", 404, "Not found."


class ServiceUnavailable(LunaError):
    code, status, message = ("service_unavailable", 503, "A part of the service is down. Try again in a moment.")


class NotAuthenticated(LunaError):
    code, status, message = ("not_authenticated", 401, "Sign in or send an API key: Authorization: Bearer <token>.")


class TokenInvalid(LunaError):
    code, status, message = ("token_invalid", 401, "The token is not valid. Sign in again.")


class TokenExpired(LunaError):
    code, status, message = ("token_expired", 401, "The token has expired. Sign in again.")


class ApiKeyInvalid(LunaError):
    code, status, message = "api_key_invalid", 401, "The API key is unknown, expired or revoked."
    # `reason` tells the owner of a well-formed key why it does not work.
    members = MappingProxyType({"reason": "revoked"})


class ScopeMissing(LunaError):
    code, status, message = "scope_missing", 403, "The API key may not be used for this."
    is_refusal = True
