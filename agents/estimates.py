"""What an answer took that was broken off with its process: tokens by the length of the texts, and their price."""

from agents import catalogue
from agents.providers import prices
from runs.metering import tokens
from runs.metering.estimates import Estimate, InterruptedAnswer
from runs.metering.tokens import TokenUsage


def of(interrupted: InterruptedAnswer) -> Estimate:
    """Return an estimate; the agent's prompt as it is now counts as given."""
    agent = catalogue.current().agents.get(interrupted.agent)
    given = tokens.estimate(interrupted.input) + (tokens.estimate(agent.prompt) if agent else 0)
    used = TokenUsage(input=given, output=tokens.estimate(interrupted.output), estimated=True)
    cost = prices.cost(interrupted.provider, interrupted.model, used)
    return Estimate(used, cost.usd, cost.known)
