"""Command that creates the first staff account."""

import secrets
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from accounts.models import User

DEFAULT_EMAIL = "admin@localhost.localdomain"


class Command(BaseCommand):
    help = (
        "Create a superuser if none exists, from LUNAOS_ADMIN_EMAIL and LUNAOS_ADMIN_PASSWORD or with made-up values."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        if User.objects.filter(is_superuser=True).exists():
            return
        email = settings.ADMIN_EMAIL or DEFAULT_EMAIL
        password = settings.ADMIN_PASSWORD or secrets.token_urlsafe(15)
        User.objects.create_superuser(email, password, name="Staff")
        shown = "the password of LUNAOS_ADMIN_PASSWORD" if settings.ADMIN_PASSWORD else f"password {password}"
        self.stdout.write(f"Staff account: {email}, {shown} (shown this once), at {settings.PUBLIC_URL}/admin/")
