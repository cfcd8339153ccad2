"""What operators have to know of providers: an account without credit, a model without a price."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from accounts import alarms
from agents.providers.failures import ServerQuotaExhausted
from lunaos import database

if TYPE_CHECKING:
    from agents.runner import Answer


async def check(answer: Answer) -> None:
    """Raise the alarms that an answer which has ended gives reason for; each at most once a day and model."""
    exhausted = {a.target.provider.name for a in answer.attempts if isinstance(a.error, ServerQuotaExhausted)}
    target = answer.answering
    unpriced = [] if answer.cost.known else [f"{target.provider.name}/{target.model}"]
    if exhausted or unpriced:
        await database.call(_sound, exhausted, unpriced)


def _sound(exhausted: Iterable[str], unpriced: Iterable[str]) -> None:
    for provider in exhausted:
        message = f"The account at {provider} has no credit or quota left; its runs fail or fall back."
        alarms.sound_daily("provider_quota_exhausted", provider, message, provider=provider)
    for model in unpriced:
        message = f"The price table does not have {model}: its runs are written down with a cost of 0."
        alarms.sound_daily("model_without_price", model, message, model=model)
