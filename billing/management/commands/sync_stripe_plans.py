"""`manage.py sync_stripe_plans`: create the tiers' prices at Stripe."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing.payments import plans
from lunaos.errors import LunaError


class Command(BaseCommand):
    help = "Create a product and a price at Stripe for each tier in the admin that has a price and a lookup key."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            found = plans.sync_plans()
        except LunaError as e:
            raise CommandError(str(e)) from e
        for plan in found:
            self.stdout.write(f"{plan.tier}: {plan.price_id} as {plan.lookup_key}{' (new)' if plan.is_new else ''}")
