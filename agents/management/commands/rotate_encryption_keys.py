"""Re-encrypt provider keys after a key rotation: `manage.py rotate_encryption_keys`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from agents import provider_keys


class Command(BaseCommand):
    help = (
        "Encrypt users' provider keys with the first of LUNAOS_ENCRYPTION_KEYS. Safe to repeat, and while the platform "
        "runs. The old key can be removed when all processes know the new one and this command has succeeded."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        done = provider_keys.rotate()
        self.stdout.write(f"{done.resealed} re-encrypted, {done.current} were up to date.")
        if done.unreadable:
            raise CommandError(
                f"{done.unreadable} cannot be decrypted with any key and are unchanged. "
                "Is a key missing in LUNAOS_ENCRYPTION_KEYS?"
            )
