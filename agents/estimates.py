"""What an answer took that was broken off with its process: tokens by the length of the texts, and their price."""

from agents import catalogue
from agents.providers import prices
from runs.metering import tokens
from runs.metering.estimates import Broken, Estimate
from runs.metering.tokens import TokenUsage


def estimate_broken_run(broken: Broken) -> Estimate:
    """Return an estimate; the agent's prompt as it is now counts as given."""
    agent = catalogue.current().agents.get(broken.agent)
    given = tokens.estimate(broken.given) + (tokens.estimate(agent.prompt) if agent else 0)
    used = TokenUsage(input=given, output=tokens.estimate(broken.said), estimated=True)
    cost = prices.cost(broken.provider, broken.model, used)
    return Estimate(used, cost.usd, cost.known)
