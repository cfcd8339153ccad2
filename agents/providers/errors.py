"""What can go wrong with a provider, in the contract's words; a provider's own text is never passed on."""

from types import MappingProxyType
from typing import Any

from lunaos.errors import LunaError


class UnknownProvider(LunaError):
    code, status, message = "unknown_provider", 400, "There is no such provider."
    members = MappingProxyType({"available": ["deepseek", "local"]})


class UnknownModel(LunaError):
    code, status, message = "unknown_model", 400, "The provider has no such model."
    members = MappingProxyType({"available": ["deepseek-chat", "deepseek-reasoner"]})


class ProviderNotConfigured(LunaError):
    code, status, message = ("provider_not_configured", 503, "The provider has no key on this server.")


class ProviderTakesNoKey(LunaError):
    code, status, message = ("provider_takes_no_key", 400, "This provider takes no keys of users.")


class ProviderKeyNotFound(LunaError):
    code, status, message = ("provider_key_not_found", 404, "You have no key for this provider.")


class ProviderKeyUnreadable(LunaError):
    """Kept, but encrypted with a key that the server does not have any more."""

    code, status, message = (
        "provider_key_unreadable",
        409,
        "Your own key for this provider cannot be read any more. Send it again, or remove it.",
    )


class ProviderFailed(LunaError):
    """The provider refused, or answered with something that is no answer.

    Args:
        retryable: the same request may succeed a moment later.
        elsewhere: another provider may answer it; False where the request itself was refused.
    """

    code, status, message = ("provider_error", 502, "The model provider answered with an error.")
    retryable, elsewhere = False, True

    def __init__(
        self, message: str | None = None, /, *, retryable: bool | None = None, elsewhere: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(message, **kwargs)
        self.elsewhere = elsewhere
        if retryable is not None:
            self.retryable = retryable


class ProviderUnavailable(ProviderFailed):
    code, status, message = ("provider_unavailable", 503, "The model provider is down or overloaded.")
    retryable = True


class ProviderTimeout(ProviderFailed):
    code, status, message = ("provider_timeout", 504, "The model provider did not answer in time.")


class ProviderKeyRejected(ProviderFailed):
    """The provider does not take the user's own key; nobody else is asked, since nobody else's key was to pay."""

    code, status, message = (
        "provider_key_rejected",
        400,
        "The provider refuses your own key. Send another one, or remove it.",
    )
    elsewhere = False
