"""`manage.py check_storage`: compare the counters of stored bytes with the files."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from rag.indexing import sizes


class Command(BaseCommand):
    help = "Compare every repository's counter of bytes with its files; safe during traffic."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--repair", action="store_true", help="Set counters that differ.")

    def handle(self, *args: Any, **options: Any) -> None:
        found = sizes.counter_mismatches()
        for each in found:
            self.stderr.write(
                f"{each.repository_id} {each.name}: counted {each.counted} bytes, stored {each.stored}, "
                f"{each.unmeasured} files without their size"
            )
        if found and options["repair"]:
            sizes.repair_counters()
            self.stdout.write(f"Repaired the counters of {len(found)} repositories.")
        elif found:
            raise CommandError(f"The counters of {len(found)} repositories differ from their files. Use --repair.")
        else:
            self.stdout.write("All counters agree with the files.")
