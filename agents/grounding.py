"""Passages of an indexed repository for the prompts of agents."""

from collections.abc import Sequence

from django.conf import settings

from accounts.models import User
from agents import catalogue
from agents.models import Agent
from agents.providers import Target
from rag import services as rag_services
from rag.search import passages
from rag.search.passages import BYTES_PER_TOKEN, Grounding

OVERHEAD_TOKENS = 64  # of a chat template
MAX_QUERY_CHARACTERS = 2_000  # of a longer context beginning and end, where questions usually are


def require_repository(user: User, repository: str | None) -> None:
    """Raise UnknownRepository if a repository is named that the user does not have."""
    if repository is not None:
        rag_services.find_repository(user=user, repository=repository)


def search_repository(
    *, user: User, repository: str | None, context: str, experts: Sequence[Agent], targets: Sequence[Target]
) -> Grounding | None:
    """Find passages that match a context, as many as every agent and model has room for.

    Raises UnknownRepository, EmbeddingsNotConfigured, EmbeddingsUnavailable or EmbeddingsFailed.
    """
    # The result is None without a repository, and a grounding without sources if nothing matches.
    if repository is None:
        return None
    hits = rag_services.search_code(
        user=user, repository=repository, query=_query(context), limit=passages.MAX_PASSAGES
    )
    return passages.quote(repository, hits, min(settings.RAG_PASSAGE_TOKENS, _free_tokens(context, experts, targets)))


def _query(context: str) -> str:
    if len(context) <= MAX_QUERY_CHARACTERS:
        return context
    return f"{context[: MAX_QUERY_CHARACTERS // 2]}\n{context[-MAX_QUERY_CHARACTERS // 2 :]}"


def _free_tokens(context: str, experts: Sequence[Agent], targets: Sequence[Target]) -> int:
    # The smallest window counts: a chain shows the same passages to all its agents, a fallback to another model.
    return min(
        catalogue.context_window(target.provider.name, target.model)
        - target.output_limit(expert.max_tokens)
        - (len(expert.prompt.encode()) + len(context.encode())) // BYTES_PER_TOKEN
        - OVERHEAD_TOKENS
        for expert in experts
        for target in targets
    )
