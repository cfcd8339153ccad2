"""`manage.py check_quotas`: do the counters agree with the runs?"""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from runs import ledger


class Command(BaseCommand):
    help = "Hold every user's monthly counter against that month's runs, beside running traffic."

    def handle(self, *args: Any, **options: Any) -> None:
        found = ledger.find_mismatches()
        for each in found:
            self.stderr.write(
                f"{each.user_id} {each.month:%Y-%m}: counted {each.counted} ({each.counted_chains} chains), "
                f"charged {each.charged} ({each.charged_chains} chains)"
            )
        if found:
            raise CommandError(f"{len(found)} months differ.")
        self.stdout.write("All counters agree with the runs.")
