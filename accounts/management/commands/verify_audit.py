"""Command that verifies the hash chain of the audit trail."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.auditlog import trail


class Command(BaseCommand):
    help = "Read the whole audit trail and find the first row that was changed, removed or inserted."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--head", help="NUMBER:HASH from an earlier run or log line; rows may not end before it")

    def handle(self, *args: Any, head: str | None, **options: Any) -> None:
        result = trail.verify()
        if result.broken is not None:
            raise CommandError(
                f"Row {result.broken} is broken: {result.reason}. {result.rows} rows before it are whole."
            )
        if head and not trail.contains_head(head):
            raise CommandError(f"The row {head} is not there any more; the trail ends at {trail.head() or 'nothing'}.")
        self.stdout.write(
            f"{result.rows} rows are as they were written. The trail ends at {trail.head() or 'nothing'}."
        )
