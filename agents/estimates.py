"""Estimated tokens and cost of a run that ended with its process."""

from agents import catalogue
from agents.providers import prices
from runs.metering import tokens
from runs.metering.estimates import Estimate, InterruptedAnswer
from runs.metering.tokens import TokenUsage


def estimate_broken_run(interrupted: InterruptedAnswer) -> Estimate:
    """Estimate tokens from the lengths of the answer and the agent's current prompt, and their price."""
    agent = catalogue.current().agents.get(interrupted.agent)
    given = tokens.estimate(interrupted.input) + (tokens.estimate(agent.prompt) if agent else 0)
    used = TokenUsage(input=given, output=tokens.estimate(interrupted.output), estimated=True)
    cost = prices.cost(interrupted.provider, interrupted.model, used)
    return Estimate(used, cost.usd, cost.known)
