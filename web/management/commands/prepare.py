from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand

from billing import tiers
from lunaos.infra import wait_messages
from refusals import partitions as refusal_partitions
from runs import partitions


class Command(BaseCommand):
    help = "Migrate, create partitions, load the agents, create the staff account. Safe to repeat."

    def handle(self, *args: Any, **options: Any) -> None:
        with wait_messages.repeat_while_waiting(self.stdout.write, lambda: "the database's migrations"):
            call_command("migrate", verbosity=options["verbosity"] - 1, interactive=False)
            partitions.ensure()
            refusal_partitions.ensure()
        tiers.check_settings()
        call_command("load_agents", stdout=self.stdout)
        call_command("ensure_staff", stdout=self.stdout)
