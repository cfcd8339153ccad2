"""Command that removes a lost second factor."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import User
from accounts.signin import second_factor


class Command(BaseCommand):
    help = "Remove the lost second factor of a staff member, who sets a new one at the next sign-in."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email")

    def handle(self, *args: Any, email: str, **options: Any) -> None:
        user = User.objects.filter(email=email.lower()).first()
        if user is None:
            raise CommandError(f"There is no account {email}.")
        second_factor.remove(user)
        self.stdout.write(f"{user.email} sets another second factor at the next sign-in.")
