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

UNDONE_CHANGES = (
    "All sessions are ended. Changes after {} are undone: revoked keys, disabled and deleted accounts, old passwords "
    "and old second factors are valid again. docs/operate/backup.md describes how to find them."
)


class Command(BaseCommand):
    help = "Restore a backup while the platform is stopped: verify it, fill the database in one transaction, migrate."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("backup", type=Path, help="folder of the backup")
        parser.add_argument("--replace", action="store_true", help="overwrite the present content of the database")
        parser.add_argument("--verify", action="store_true", help="only verify the backup")
        parser.add_argument("--home", action="store_true", help="include LUNAOS_HOME's secrets and mails, of `make up`")

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
        self._flush_valkey()
        if options["home"]:
            home.load(backup, settings.LUNAOS_HOME)
        call_command("migrate", verbosity=0, interactive=False)
        # The restored rows may hold sessions that were ended since.
        sessions.end_all_of_all_users()
        if not options["home"]:
            self._try_keys()
        self.stderr.write(UNDONE_CHANGES.format(found.made_at))
        self.stdout.write("Restored.")

    def _flush_valkey(self) -> None:
        # Its jobs, events and counters do not match the restored rows.
        try:
            redis.client().flushdb()
            redis.event_log().flushdb()
        except RedisError:
            self.stderr.write("Valkey cannot be reached. Run FLUSHDB on it before the platform starts.")

    def _try_keys(self) -> None:
        if unreadable := provider_keys.count_unreadable():
            self.stderr.write(
                f"{unreadable} of the users' provider keys cannot be decrypted with the present "
                "LUNAOS_ENCRYPTION_KEYS and DJANGO_SECRET_KEY. Set the keys of the time of the backup."
            )
