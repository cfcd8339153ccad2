"""The chains that come with the platform (CONTRACT, section 6).

How to add one: a line in PRESETS, with the slugs of agents in the catalogue, five at most.
"""

from dataclasses import dataclass

from agents.models import Agent
from billing import tiers

LONGEST = 5
CUSTOM = "custom"  # what a run says of a chain whose steps the request named


@dataclass(frozen=True, slots=True)
class Preset:
    """A chain with a name.

    Args:
        steps: slugs of agents, in order.
    """

    id: str
    name: str
    description: str
    steps: tuple[str, ...]

    def tier(self, agents: dict[str, Agent]) -> str:
        """That of its highest agent."""
        return max((agents[slug].tier for slug in self.steps), key=lambda name: tiers.of(name).rank)


PRESETS = {
    preset.id: preset
    for preset in (
        Preset(
            "code-review-pipeline",
            "Code Review Pipeline",
            "Reviews code, writes the tests it lacks, then documents it.",
            ("code-review", "testing-validation", "documentation"),
        ),
        Preset(
            "full-review",
            "Full Review",
            "Review, tests and documentation of a change in one go.",
            ("code-review", "testing-validation", "documentation"),
        ),
        Preset(
            "deploy",
            "Deploy",
            "Reviews code, tests it, then plans its roll-out.",
            ("code-review", "testing-validation", "deployment"),
        ),
        Preset(
            "security-audit",
            "Security Audit",
            "Reviews code, hardens it, then checks how it is deployed.",
            ("code-review", "365-security", "deployment"),
        ),
        Preset(
            "new-feature",
            "New Feature",
            "From an idea to requirements, a design, tasks, and the code for them.",
            ("requirements-analyzer", "design-architect", "task-planner", "task-executor"),
        ),
        Preset(
            "api-design",
            "API Design",
            "Endpoints, the schema below them, and their reference.",
            ("api-generator", "database", "documentation"),
        ),
    )
}
