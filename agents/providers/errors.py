"""Errors of providers, as the API reports them."""

# A provider's own text reaches a client only for a run on the user's own key, and redacted (`redaction`).

from types import MappingProxyType
from typing import Any

from lunaos.errors import LunaError


class UnknownProvider(LunaError):
    code, status, message = "unknown_provider", 400, "Unknown provider."
    members = MappingProxyType({"available": ["deepseek", "local"]})


class UnknownModel(LunaError):
    code, status, message = "unknown_model", 400, "Unknown model."
    members = MappingProxyType({"available": ["deepseek-chat", "deepseek-reasoner"]})


class ProviderNotConfigured(LunaError):
    code, status, message = ("provider_not_configured", 503, "The provider has no key on this server.")
    is_refusal = True


class ProviderTakesNoKey(LunaError):
    code, status, message = ("provider_takes_no_key", 400, "This provider accepts no keys of users.")


class ProviderKeyNotFound(LunaError):
    code, status, message = ("provider_key_not_found", 404, "You have no key for this provider.")


class ProviderKeyUnreadable(LunaError):
    """The stored key was encrypted with a key that the server no longer has."""

    code, status, message = (
        "provider_key_unreadable",
        409,
        "Your own key for this provider cannot be decrypted. Send the key again, or remove it.",
    )
    is_refusal = True


class ProviderFailed(LunaError):
    """The provider refused the request or sent no valid answer."""

    # `retryable`: the same request to the same provider may succeed a moment later. `elsewhere`: another provider may
    # answer the request; False if the request itself was refused. `provider_message` is redacted, for staff and for
    # users of an own key.

    code, status, message = ("provider_error", 502, "The model provider answered with an error.")
    retryable, elsewhere = False, True
    stated_wait_s: float | None = None  # the waiting time that the provider states
    counted = False  # whether the run counts without text, because the request caused the outcome

    def __init__(
        self,
        message: str | None = None,
        /,
        *,
        retryable: bool | None = None,
        elsewhere: bool | None = None,
        provider_status: int | None = None,
        provider_message: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(message, **kwargs)
        self.retryable = type(self).retryable if retryable is None else retryable
        self.elsewhere = type(self).elsewhere if elsewhere is None else elsewhere
        self.provider_status, self.provider_message = provider_status, provider_message


class ProviderUnavailable(ProviderFailed):
    code, status, message = ("provider_unavailable", 503, "The model provider is down or overloaded.")
    retryable = True


class ProviderTimeout(ProviderFailed):
    code, status, message = ("provider_timeout", 504, "The model provider did not answer in time.")


class ProviderKeyRejected(ProviderFailed):
    """The provider rejects the user's own key; there is no fallback to another key."""

    code, status, message = (
        "provider_key_rejected",
        400,
        "The provider refuses your own key. Send another one, or remove it.",
    )
    elsewhere = False


class ProviderQuotaExhausted(ProviderFailed):
    """The account behind the user's own key has no credit or quota left."""

    code, status, message = (
        "provider_quota_exhausted",
        400,
        "Your account at the provider has no credit or quota left. Add credit there, or use another provider.",
    )
    elsewhere = False


class EmptyAnswer(ProviderFailed):
    code, status, message = (
        "empty_answer",
        502,
        "The model ended its answer without any text. Try again, or choose another model.",
    )


class CausedByRequest(ProviderFailed):
    """The request's content made the provider end without text: the run counts."""

    elsewhere, counted = False, True


class OutputLimitReached(CausedByRequest):
    code, status, message = (
        "output_limit_reached",
        422,
        "The model used up its output limit before it wrote any text. Shorten the context, or choose another model.",
    )


class ContentFiltered(CausedByRequest):
    code, status, message = (
        "content_filtered",
        422,
        "The provider's content filter stopped the answer. Change the context, or choose another provider.",
    )


class ProviderRefused(CausedByRequest):
    code, status, message = (
        "provider_refused",
        422,
        "The model refused to answer. Change the context, or choose another model.",
    )
