"""`manage.py verify_audit`: is the audit trail as it was written?"""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.auditlog import trail


class Command(BaseCommand):
    help = "Read the whole audit trail and find the first row that was changed, taken out or put in."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--head", help="NUMBER:HASH from an earlier run or log line; rows may not end before it")

    def handle(self, *args: Any, head: str | None, **options: Any) -> None:
        verdict = trail.verify()
        if verdict.broken is not None:
            raise CommandError(
                f"Row {verdict.broken} is broken: {verdict.reason}. {verdict.rows} rows before it are whole."
            )
        if head and not trail.contains_head(head):
            raise CommandError(f"The row {head} is not there any more; the trail ends at {trail.head() or 'nothing'}.")
        self.stdout.write(
            f"{verdict.rows} rows are as they were written. The trail ends at {trail.head() or 'nothing'}."
        )
