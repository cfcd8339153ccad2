"""Language-model providers: who they are and whether they can be used.

How to add one: an entry in `LLM_PROVIDERS` (settings) with its OpenAI-compatible base URL and models, a line in
`.env.example`, and a line in `prices.py` if its name there differs. One that speaks another protocol gets a module
beside `openai_compatible` with the same `stream` function.
"""

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
    """

    name: str
    base_url: str
    api_key: str
    max_tokens: int = 0

    def __repr__(self) -> str:
        return f"Provider({self.name})"

    @property
    def configured(self) -> bool:
        return bool(self.base_url and (self.api_key or self.name == LOCAL))

    def longest_answer(self, wanted: int) -> int:
        """Tokens that an answer may have, of those an agent wants."""
        return min(wanted, self.max_tokens or wanted)


@dataclass(frozen=True, slots=True)
class Target:
    """A provider and one of its models."""

    provider: Provider
    model: str


def get(name: str) -> Provider:
    """Look a provider up.

    Raises:
        UnknownProvider: with the names there are.
    """
    if name not in settings.LLM_PROVIDERS:
        raise UnknownProvider(available=list(settings.LLM_PROVIDERS))
    config = settings.LLM_PROVIDERS[name]
    return Provider(name, config["base_url"], config["api_key"], config["max_tokens"])


def default() -> Provider:
    """The first provider that is set up, in the settings' order, the embedded model last; else simply the first."""
    everyone = [get(name) for name in settings.LLM_PROVIDERS]
    return next((provider for provider in everyone if provider.configured), everyone[0])
