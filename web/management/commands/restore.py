"""`manage.py restore BACKUP`: what `manage.py backup` wrote, back into the database."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError
from redis.exceptions import RedisError

from accounts.signin import sessions
from agents import provider_keys
from lunaos.backup import database, home, manifest
from lunaos.backup.errors import BackupError
from lunaos.infra import redis

FORGOTTEN = (
    "All sessions are ended. What was taken back after {} is valid again: keys, disabled and deleted accounts, "
    "passwords, second factors. docs/operations.md says how to find it."
)


class Command(BaseCommand):
    help = "Restore a backup while the platform is stopped: verify it, fill the database in one transaction, migrate."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("backup", type=Path, help="its folder")
        parser.add_argument("--replace", action="store_true", help="what the database holds now is lost")
        parser.add_argument("--verify", action="store_true", help="only look whether it is whole")
        parser.add_argument("--home", action="store_true", help="also LUNAOS_HOME's secrets and mails, of `make up`")

    def handle(self, *args: Any, **options: Any) -> None:
        backup: Path = options["backup"]
        try:
            found = manifest.verify(backup)
            self.stdout.write(f"{backup.name}: version {found.version}, {sum(found.rows.values())} rows, whole.")
            if options["verify"]:
                return
            database.load(backup, found, replace=options["replace"])
        except (BackupError, OperationalError) as e:
            raise CommandError(str(e)) from e
        self._forget_the_moment()
        if options["home"]:
            home.load(backup, settings.LUNAOS_HOME)
        call_command("migrate", verbosity=0, interactive=False)
        sessions.end_everybodys()
        if not options["home"]:
            self._try_keys()
        self.stderr.write(FORGOTTEN.format(found.made_at))
        self.stdout.write("Restored.")

    def _forget_the_moment(self) -> None:
        """Valkey's jobs, events and counters are of another time than the rows are now."""
        try:
            redis.client().flushdb()
            redis.event_log().flushdb()
        except RedisError:
            self.stderr.write("Valkey cannot be reached: empty it before the platform starts (FLUSHDB).")

    def _try_keys(self) -> None:
        if unreadable := provider_keys.count_unreadable():
            self.stderr.write(
                f"{unreadable} of the users' provider keys cannot be read with LUNAOS_ENCRYPTION_KEYS and "
                "DJANGO_SECRET_KEY as they are here: put back those of the time of the backup."
            )
