"""`manage.py reconcile_billing`: compare subscriptions and payments with Stripe and repair them."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing.payments import reconciliation
from lunaos.errors import LunaError


class Command(BaseCommand):
    help = "Compare subscriptions, refunds and disputes with Stripe, repair those that differ, and print them."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            differences = list(reconciliation.reconcile())
            payments = list(reconciliation.reconcile_payments())
        except LunaError as e:
            raise CommandError(str(e)) from e
        for each in differences:
            done = (
                f"NOT REPAIRED: {each.error}" if each.error else f"tier {each.tier_before or '-'} -> {each.tier or '-'}"
            )
            self.stdout.write(f"{each.customer_id}: {each.before or '-'} -> {each.after or '-'}, {done}")
        for payment in payments:
            self.stdout.write(f"{payment.id}: {f'NOT REPAIRED: {payment.error}' if payment.error else 'fetched again'}")
        self.stdout.write(f"{len(differences)} customers differed, {len(payments)} payments.")
