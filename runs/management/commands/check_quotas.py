from typing import Any

from django.core.management.base import BaseCommand, CommandError

from runs import ledger


class Command(BaseCommand):
    help = "Compare every user's monthly counter with the runs of that month. Safe beside running traffic."

    def handle(self, *args: Any, **options: Any) -> None:
        mismatches = ledger.find_mismatches()
        for each in mismatches:
            self.stderr.write(
                f"{each.user_id} {each.month:%Y-%m}: counted {each.counted} ({each.counted_chains} chains), "
                f"charged {each.charged} ({each.charged_chains} chains)"
            )
        if mismatches:
            raise CommandError(f"{len(mismatches)} months differ.")
        self.stdout.write("All counters agree with the runs.")
