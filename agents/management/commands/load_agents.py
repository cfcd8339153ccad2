"""`manage.py load_agents`"""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from agents import loader


class Command(BaseCommand):
    help = "Bring the agents' files into the database; what staff edited is kept."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            lines = loader.load()
        except loader.BrokenAgentFile as e:
            raise CommandError(str(e)) from e
        for line in lines:
            self.stdout.write(f"agent {line}")
