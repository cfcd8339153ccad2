from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError

from lunaos.backup import backup_store, database, home
from lunaos.backup.errors import BackupError

KEPT = 14


class Command(BaseCommand):
    help = (
        "Back up the database while the platform runs. A backup holds no keys of the environment: store "
        "DJANGO_SECRET_KEY, LUNAOS_ENCRYPTION_KEYS and LUNAOS_JWT_KEYS elsewhere."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--folder", type=Path, help="folder of the backups; default LUNAOS_HOME/backups")
        parser.add_argument(
            "--keep", type=int, default=KEPT, help=f"number of backups to keep, at least 1; default {KEPT}"
        )
        parser.add_argument("--home", action="store_true", help="include LUNAOS_HOME's secrets and mails, of `make up`")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["keep"] < 1:
            raise CommandError("--keep must be at least 1.")
        folder = options["folder"] or settings.LUNAOS_HOME / "backups"
        try:
            with backup_store.create(folder) as unfinished:
                if options["home"]:
                    home.save(settings.LUNAOS_HOME, unfinished)
                database.save(unfinished)
            gone = backup_store.rotate(folder, options["keep"])
        except (BackupError, OperationalError) as e:
            raise CommandError(str(e)) from e
        self.stderr.write(f"The backup is complete; {len(gone)} older ones were deleted.")
        self.stdout.write(str(backup_store.list_complete(folder)[-1]))
