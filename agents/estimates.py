"""Estimated tokens and cost of a run that ended with its process."""

from agents import catalogue
from agents.providers import prices
from runs.metering import tokens
from runs.metering.estimates import Broken, Estimate
from runs.metering.tokens import TokenUsage


def estimate_broken_run(broken: Broken) -> Estimate:
    """Estimate tokens from text lengths, and their price.

    The agent's current prompt counts as input.
    """
    agent = catalogue.current().agents.get(broken.agent)
    given = tokens.estimate(broken.given) + (tokens.estimate(agent.prompt) if agent else 0)
    used = TokenUsage(input=given, output=tokens.estimate(broken.said), estimated=True)
    cost = prices.cost(broken.provider, broken.model, used)
    return Estimate(used, cost.usd, cost.known)
