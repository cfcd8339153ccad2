"""Billing's part of what is known of a user."""

from collections.abc import Iterable, Iterator

from django.conf import settings
from djstripe.models import Customer

from accounts.auditlog import alerts
from accounts.models import User
from accounts.privacy import registry
from accounts.privacy.registry import Row
from billing import usage_carryover
from billing.models import Grant, MonthlyUsage
from billing.payments import stripe_client, stripe_mirror, subscription_state


def export(user: User) -> Iterator[tuple[str, Row | Iterable[Row]]]:
    months = MonthlyUsage.objects.filter(user=user).order_by("month")
    yield "usage", [registry.to_row(month, "id", "user_id") for month in months]
    grants = Grant.objects.filter(user=user).order_by("created_at")
    yield "grants", [registry.to_row(grant, "id", "user_id", "granted_by_id") for grant in grants]
    if customer := stripe_mirror.customer_of(user):
        yield "customer", {"id": customer.id, "email": customer.email, "created": customer.created}
        yield "subscriptions", [row.stripe_data for row in customer.subscriptions.order_by("created")]
        yield "invoices", [row.stripe_data for row in customer.invoices.order_by("created")]


def prepare_deletion(user: User) -> None:
    """Nobody pays for an account that is gone: what can be paid on is closed, what is paid for is ended, at Stripe."""
    for customer in stripe_mirror.customers_of(user):
        if why := _out_of_reach(customer):
            _left(customer, why)
        else:
            _end(customer)


def _out_of_reach(customer: Customer) -> str:
    if not stripe_client.is_configured():
        return "there is no key of Stripe's any more."
    if customer.livemode is not settings.STRIPE_LIVE_MODE:
        return "the key of Stripe's is of another mode than the customer."
    return ""


def _end(customer: Customer) -> None:
    with stripe_client.hurried():
        try:
            if not stripe_client.is_deleted(stripe_client.customer(customer.id)):  # with it all that it had has ended
                _end_at_stripe(customer.id)
        except stripe_client.Missing:
            _left(customer, "the key of Stripe's is of another account than the customer.")


def _left(customer: Customer, why: str) -> None:
    message = f"An account was deleted whose subscriptions, if any, are to be ended by hand: {why}"
    alerts.send("subscription_not_ended", message, customer_id=customer.id)


def _end_at_stripe(customer_id: str) -> None:
    for session in stripe_client.open_checkouts(customer_id):
        stripe_client.expire_checkout(session.id)
    for subscription in stripe_client.subscriptions(customer_id):
        if subscription.status not in subscription_state.ENDED:
            stripe_client.cancel_now(subscription.id)


def revoke_access(user: User) -> None:
    """Nothing of it gives access."""


def delete(user: User) -> None:
    """Months and grants go with the user's own row; of the customer only Stripe's ids and amounts stay.

    What the month holds is kept by a hash of the address, until the month ends.

    Without the customer's lock: who holds that may wait for the user's row, which the caller holds.
    """
    usage_carryover.remember(user)
    stripe_mirror.forget(user)
