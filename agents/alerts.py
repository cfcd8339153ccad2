"""Alerts to operators: an account without credit, a model without a price."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

from accounts.auditlog import alerts
from agents.providers.failures import ServerQuotaExhausted
from agents.providers.prices import Cost
from agents.providers.reply import Attempt
from lunaos.infra import database
from lunaos.infra.redis import RedisError

logger = logging.getLogger(__name__)


async def alert_operators(attempts: Sequence[Attempt], cost: Cost) -> None:
    """Send the alerts that a finished answer calls for, each once a day and subject."""
    exhausted = {each.target.provider.name for each in attempts if isinstance(each.error, ServerQuotaExhausted)}
    unpriced = [] if cost.known else [f"{attempts[-1].target.provider.name}/{attempts[-1].target.model}"]
    if exhausted or unpriced:
        try:
            await database.call(_send_alerts, exhausted, unpriced)
        except (*database.OUTAGES, RedisError):  # a failed alert must not fail the run
            logger.exception("An alert could not be sent")


def _send_alerts(exhausted: Iterable[str], unpriced: Iterable[str]) -> None:
    for provider in exhausted:
        message = f"The account at {provider} has no credit or quota left. Its runs fail or use a fallback."
        alerts.send_daily("provider_quota_exhausted", provider, message, provider=provider)
    for model in unpriced:
        message = f"The price table does not contain {model}. Its runs are recorded with a cost of 0."
        alerts.send_daily("model_without_price", model, message, model=model)
