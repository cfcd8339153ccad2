"""Billing's part of what is known of a user."""

import logging
from collections.abc import Iterable, Iterator

from accounts import alarms, parts
from accounts.models import User
from accounts.parts import Row
from billing import gateway, mirror, standing
from billing.models import Grant, MonthlyUsage

logger = logging.getLogger(__name__)


def export(user: User) -> Iterator[tuple[str, Row | Iterable[Row]]]:
    months = MonthlyUsage.objects.filter(user=user).order_by("month")
    yield "usage", [parts.columns(month, "id", "user_id") for month in months]
    grants = Grant.objects.filter(user=user).order_by("created_at")
    yield "grants", [parts.columns(grant, "id", "user_id", "granted_by_id") for grant in grants]
    if customer := mirror.customer_of(user):
        yield "customer", {"id": customer.id, "email": customer.email, "created": customer.created}
        yield "subscriptions", [row.stripe_data for row in customer.subscriptions.order_by("created")]
        yield "invoices", [row.stripe_data for row in customer.invoices.order_by("created")]


def prepare(user: User) -> None:
    """Nobody pays for an account that is gone: what can be paid on is closed, what is paid for is ended, at Stripe."""
    customer = mirror.customer_of(user)
    if customer is None:
        return
    if not gateway.is_configured():
        message = "An account was deleted whose subscription nobody can end: there is no key of Stripe's any more."
        alarms.sound("subscription_not_ended", message, customer_id=customer.id)
        return
    with gateway.hurried():
        try:
            _end_at_stripe(customer.id)
        except gateway.Missing:
            logger.info("Stripe does not know %s any more", customer.id)


def _end_at_stripe(customer_id: str) -> None:
    for session in gateway.open_checkouts(customer_id):
        gateway.expire_checkout(session.id)
    for subscription in gateway.subscriptions(customer_id):
        if subscription.status not in standing.ENDED:
            gateway.cancel_now(subscription.id)


def disown(user: User) -> None:
    """Nothing of it gives access."""


def erase(user: User) -> None:
    """Months and grants go with the user's own row; of the customer only Stripe's ids and amounts stay.

    Without the customer's lock: who holds that may wait for the user's row, which the caller holds.
    """
    if customer := mirror.customer_of(user):
        mirror.forget(customer)
