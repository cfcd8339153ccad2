"""Language-model providers: who they are and whether they can be used.

How to add one: an entry in `LLM_PROVIDERS` (settings) with its OpenAI-compatible base URL and models, a line in
`.env.example`, and a line in `prices.py` if its name there differs. One that speaks another protocol gets a module
beside `openai_compatible` with the same `stream` function.
"""

from collections.abc import Container
from dataclasses import dataclass

from django.conf import settings

from agents.providers.errors import UnknownProvider

LOCAL = "local"


@dataclass(frozen=True, slots=True)
class Provider:
    """Where a provider is reached.

    Args:
        base_url: of its OpenAI-compatible API, `…/v1`; empty where it is not set up.
        api_key: never printed; the embedded server has one too.
        max_tokens: the longest answer it may give, 0 where only the agent limits it.
        own_key: the key is the user's own, who pays for what is asked with it.
    """

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
        """Whether the operators pay for what it answers."""
        return not self.own_key and self.name != LOCAL

    @property
    def accepts_user_keys(self) -> bool:
        """Whether users may bring a key; not to the operator's own server, whose work nobody else pays for."""
        return bool(self.base_url) and self.name != LOCAL


@dataclass(frozen=True, slots=True)
class Target:
    """A provider and one of its models.

    Args:
        max_output_tokens: of one answer, the model's reasoning included; None leaves it to the agent.
    """

    provider: Provider
    model: str
    max_output_tokens: int | None = None

    def output_limit(self, agents_limit: int) -> int:
        """Return the tokens that an answer may have: the model's limit, else the agent's, and not above the provider's.

        Args:
            agents_limit: of the agent, for models that do not reason.
        """
        wanted = self.max_output_tokens or agents_limit
        return min(wanted, self.provider.max_tokens or wanted)


def get(name: str) -> Provider:
    """Look a provider up.

    Raises:
        UnknownProvider: with the names there are.
    """
    if name not in settings.LLM_PROVIDERS:
        raise UnknownProvider(available=list(settings.LLM_PROVIDERS))
    config = settings.LLM_PROVIDERS[name]
    return Provider(name, config["base_url"], config["api_key"], config["max_tokens"])


def all_providers() -> list[Provider]:
    """All providers, in the settings' order, the embedded model last."""
    return [get(name) for name in settings.LLM_PROVIDERS]


def first_configured(candidates: list[Provider], own: Container[str] = ()) -> Provider:
    """The first that is set up, on the server or by the user; else simply the first.

    Args:
        own: names of providers for which the user has a key.
    """
    return next((each for each in candidates if each.configured or each.name in own), candidates[0])


def default_provider(own: Container[str] = ()) -> Provider:
    """Who answers where a request names nobody; `own` as of `first_usable`."""
    return first_configured(all_providers(), own)
