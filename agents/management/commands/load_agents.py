"""Load the agents' files: `manage.py load_agents`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from agents import loader


class Command(BaseCommand):
    help = "Load the agents' files into the database; edits of staff are kept."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            lines = loader.load()
        except loader.InvalidAgentFile as e:
            raise CommandError(str(e)) from e
        if lines:
            self.stdout.write(f"Agents: {summary(lines)}")


def summary(lines: list[str]) -> str:
    """Summarise the outcomes in one line: new agents are counted, others named."""
    slugs: dict[str, list[str]] = {}
    for line in lines:
        slug, _, outcome = line.partition(": ")
        slugs.setdefault(outcome, []).append(slug)
    return ". ".join(
        f"{len(found)} {outcome}" + ("" if outcome == "new" else f" ({', '.join(found)})")
        for outcome, found in slugs.items()
    )
