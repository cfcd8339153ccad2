from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand

from runs import stats


class Command(BaseCommand):
    help = (
        "Recalculate the hourly figures of all runs, or of those since a day. Safe to repeat, beside running traffic."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--since", type=datetime.fromisoformat, help="a day or time (UTC), such as 2026-11-01")

    def handle(self, *args: Any, since: datetime | None, **options: Any) -> None:
        hours = stats.count_since(since.replace(tzinfo=since.tzinfo or UTC) if since else None)
        self.stdout.write(f"{hours} hours are counted.")
