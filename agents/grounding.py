"""What a repository has to say to a request, for the prompts of agents that are to answer it."""

from collections.abc import Sequence

from django.conf import settings

from accounts.models import User
from agents import catalogue
from agents.models import Agent
from agents.providers import Target
from rag import services as rag_services
from rag.search import passages
from rag.search.passages import BYTES_A_TOKEN, Grounding

OVERHEAD_TOKENS = 64  # a chat template's own
MAX_QUERY_CHARACTERS = 2_000  # characters; of a longer context its beginning and its end, where questions stand


def require_repository(user: User, repository: str | None) -> None:
    """Raises UnknownRepository where a repository is named that the user does not have."""
    if repository is not None:
        rag_services.locate(user=user, repository=repository)


def search_repository(
    *, user: User, repository: str | None, context: str, experts: Sequence[Agent], targets: Sequence[Target]
) -> Grounding | None:
    """Look for passages that bear on a context, as many as all agents and models have room for.

    Args:
        repository: None for a request that wants none.

    Returns:
        None where the request wants none; one without sources where nothing was found.

    Raises:
        UnknownRepository, EmbeddingsNotConfigured, EmbeddingsUnavailable, EmbeddingsFailed: it cannot be searched.
    """
    if repository is None:
        return None
    hits = rag_services.find(user=user, repository=repository, query=_query(context), limit=passages.MOST)
    return passages.quote(repository, hits, min(settings.RAG_PASSAGE_TOKENS, _free_tokens(context, experts, targets)))


def _query(context: str) -> str:
    if len(context) <= MAX_QUERY_CHARACTERS:
        return context
    return f"{context[: MAX_QUERY_CHARACTERS // 2]}\n{context[-MAX_QUERY_CHARACTERS // 2 :]}"


def _free_tokens(context: str, experts: Sequence[Agent], targets: Sequence[Target]) -> int:
    """Tokens that are left beside context, agent's prompt and answer, in the smallest model's window."""
    return min(
        catalogue.context_window(target.provider.name, target.model)
        - target.output_limit(expert.max_tokens)
        - (len(expert.prompt.encode()) + len(context.encode())) // BYTES_A_TOKEN
        - OVERHEAD_TOKENS
        for expert in experts
        for target in targets
    )
