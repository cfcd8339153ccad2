"""`manage.py check_storage`: do the counters of stored bytes agree with the files?"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from rag.indexing import sizes


class Command(BaseCommand):
    help = "Hold every repository's counter of bytes against its files, beside running traffic."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--repair", action="store_true", help="Set the counters that differ.")

    def handle(self, *args: Any, **options: Any) -> None:
        found = sizes.counter_mismatches()
        for each in found:
            self.stderr.write(
                f"{each.repository_id} {each.name}: counted {each.counted} bytes, stored {each.stored}, "
                f"{each.unmeasured} files without a size"
            )
        if found and options["repair"]:
            sizes.repair_counters()
            self.stdout.write(f"{len(found)} repositories are counted anew.")
        elif found:
            raise CommandError(f"{len(found)} repositories differ; --repair counts them anew.")
        else:
            self.stdout.write("All counters agree with the files.")
