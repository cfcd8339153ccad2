"""`manage.py rotate_encryption_keys`: after a new key was put in front of LUNAOS_ENCRYPTION_KEYS."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from agents import provider_keys


class Command(BaseCommand):
    help = (
        "Encrypt users' provider keys with the first of LUNAOS_ENCRYPTION_KEYS. Safe to repeat and while the platform "
        "runs; when all processes know the new key and this has been through, the old one can go."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        done = provider_keys.rotate()
        self.stdout.write(f"{done.resealed} re-encrypted, {done.current} were up to date.")
        if done.unreadable:
            raise CommandError(
                f"{done.unreadable} cannot be read with any key; is one missing? They are left as they are."
            )
