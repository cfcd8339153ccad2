"""`manage.py set_tier EMAIL TIER`: give a user a tier."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import User
from billing import grants, tiers


class Command(BaseCommand):
    help = "Give a user a tier."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email")
        parser.add_argument("tier", choices=tiers.names())

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            user = User.objects.get(email=options["email"].lower())
        except User.DoesNotExist as e:
            raise CommandError(f"There is no user with the address {options['email']}.") from e
        grants.set_tier(user=user, tier=options["tier"])
        if user.tier == options["tier"]:
            self.stdout.write(f"{user.email} is on {user.tier} now.")
        else:
            self.stdout.write(f"{user.email} stays {user.tier}: a subscription pays for it. Cancel it at Stripe first.")
