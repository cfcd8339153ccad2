"""Check that a provider's reply is an answer with text."""

from agents.providers import Provider
from agents.providers.errors import ContentFiltered, EmptyAnswer, OutputLimitReached, ProviderFailed, ProviderRefused
from agents.providers.reply import Reply

MAX_REFUSAL_CHARACTERS = 1_000
# Finish reasons by meaning, as OpenAI, Anthropic, Gemini, Mistral, Zhipu and Bedrock send them.
LIMIT_REASONS = frozenset(
    ("length", "max_tokens", "max_output_tokens", "model_length", "model_context_window_exceeded")
)
FILTER_REASONS = frozenset(
    (
        *("content_filter", "content_filtered", "content-filter", "safety", "recitation", "blocklist", "blocked"),
        *(
            "prohibited_content",
            "spii",
            "image_safety",
            "sensitive",
            "guardrail_intervened",
            "moderation",
            "error_toxic",
        ),
    )
)
REFUSAL_REASONS = frozenset(("refusal", "refused"))


def require_text(reply: Reply, provider: Provider) -> None:
    """Accept an answer that holds text.

    Raises ProviderRefused, ContentFiltered or OutputLimitReached because of the request's content, EmptyAnswer for
    a normal end without text, and ProviderFailed if no part of an answer arrived.
    """
    if reply.has_text:
        return
    name = provider.name
    reason = (reply.finish_reason or "").partition(":")[0].strip().lower()  # Gemini: `content_filter: SAFETY`
    if refusal := reply.refusal.strip():
        raise ProviderRefused(
            f"The model refused to answer: {refusal[:MAX_REFUSAL_CHARACTERS]}", provider_message=reason
        )
    if reason in REFUSAL_REASONS:
        raise ProviderRefused(provider_message=reason)
    if reason in LIMIT_REASONS:
        raise OutputLimitReached(provider_message=reason)
    if reason in FILTER_REASONS:
        raise ContentFiltered(provider_message=reason)
    if reply.objects and not reply.has_delta and not reason:
        raise ProviderFailed(f"{name} sent something that is no answer.", retryable=True)
    tools = " It called a tool, which agents do not have." if reply.tool_calls else ""
    raise EmptyAnswer(f"{EmptyAnswer.message}{tools}", provider_message=reason)
