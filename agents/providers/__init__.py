"""Language-model providers, their configuration and lookup."""

# CONTRIBUTING.md says how to add one.

from collections.abc import Container
from dataclasses import dataclass

from django.conf import settings

from agents.providers.errors import UnknownProvider

LOCAL = "local"


@dataclass(frozen=True, slots=True)
class Provider:
    """URL, key and limits of a provider."""

    # `base_url` ends with `/v1` and is empty if the provider is not configured. `max_tokens` is 0 if only the agent
    # limits the answer. With `own_key` the user pays.

    name: str
    base_url: str
    api_key: str
    max_tokens: int = 0
    own_key: bool = False

    def __repr__(self) -> str:
        return f"Provider({self.name})"

    @property
    def configured(self) -> bool:
        return bool(self.base_url and (self.api_key or self.name == LOCAL))

    @property
    def billed_to_operator(self) -> bool:
        """Return whether the operators pay for this provider's answers."""
        return not self.own_key and self.name != LOCAL

    @property
    def accepts_user_keys(self) -> bool:
        """Return whether users may set a key: not for the operator's own server."""
        return bool(self.base_url) and self.name != LOCAL


@dataclass(frozen=True, slots=True)
class Target:
    """A provider and one of its models."""

    # `max_output_tokens` includes reasoning; None leaves the limit to the agent.

    provider: Provider
    model: str
    max_output_tokens: int | None = None

    def output_limit(self, agents_limit: int) -> int:
        """Return the tokens of an answer: the model's limit, else the agent's, within the provider's."""
        limit = self.max_output_tokens or agents_limit
        return min(limit, self.provider.max_tokens or limit)


def get(name: str) -> Provider:
    """Return a provider by its name, or raise UnknownProvider."""
    if name not in settings.LLM_PROVIDERS:
        raise UnknownProvider(available=list(settings.LLM_PROVIDERS))
    config = settings.LLM_PROVIDERS[name]
    return Provider(name, config["base_url"], config["api_key"], config["max_tokens"])


def all_providers() -> list[Provider]:
    """Return all providers in the order of the settings; the embedded model is last."""
    return [get(name) for name in settings.LLM_PROVIDERS]


def first_configured(candidates: list[Provider], own: Container[str] = ()) -> Provider:
    """Return the first provider with a key of the server or the user, else the first."""
    return next((each for each in candidates if each.configured or each.name in own), candidates[0])


def default_provider(own: Container[str] = ()) -> Provider:
    """Return the provider for requests that name none."""
    # `own` as for `first_configured`.
    return first_configured(all_providers(), own)
