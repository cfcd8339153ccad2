"""Export and delete billing's data about a user (see accounts.privacy)."""

from collections.abc import Iterable, Iterator

from django.conf import settings
from djstripe.models import Customer

from accounts.auditlog import alerts
from accounts.models import User
from accounts.privacy import registry
from accounts.privacy.registry import Row
from billing import usage_carryover
from billing.models import Grant, MonthlyUsage
from billing.payments import disputes, stripe_client, stripe_connection, stripe_mirror, subscription_state


def export(user: User) -> Iterator[tuple[str, Row | Iterable[Row]]]:
    months = MonthlyUsage.objects.filter(user=user).order_by("month")
    yield "usage", [registry.to_row(month, "id", "user_id") for month in months]
    grants = Grant.objects.filter(user=user).order_by("created_at")
    yield "grants", [registry.to_row(grant, "id", "user_id", "granted_by_id") for grant in grants]
    if customer := stripe_mirror.get_customer(user):
        yield "customer", {"id": customer.id, "email": customer.email, "created": customer.created}
        yield "subscriptions", [row.stripe_data for row in customer.subscriptions.order_by("created")]
        yield "invoices", [row.stripe_data for row in customer.invoices.order_by("created")]
        yield "payments", [row.stripe_data for row in customer.charges.order_by("created")]
        yield "disputes", [row.stripe_data for row in disputes.list_for_user(user)]
    waivers = user.dispute_waivers.order_by("waived_at")
    yield "disputeWaivers", [registry.to_row(waiver, "user_id", "waived_by_id") for waiver in waivers]


def prepare_deletion(user: User) -> None:
    """Expire the user's checkout pages and cancel the subscriptions, at Stripe."""
    for customer in stripe_mirror.list_customers(user):
        if reason := _unreachable_reason(customer):
            _alert_not_ended(customer, reason)
        else:
            _close_customer(customer)


def _unreachable_reason(customer: Customer) -> str:
    if not stripe_connection.is_configured():
        return "STRIPE_SECRET_KEY is not set."
    if customer.livemode is not settings.STRIPE_LIVE_MODE:
        return "STRIPE_SECRET_KEY is of another mode than the customer."
    return ""


def _close_customer(customer: Customer) -> None:
    with stripe_connection.short_timeout():
        try:
            if not stripe_client.is_deleted(
                stripe_client.retrieve_customer(customer.id)
            ):  # a deleted customer has no subscriptions left
                _cancel_at_stripe(customer.id)
        except stripe_connection.StripeObjectMissing:
            _alert_not_ended(customer, "STRIPE_SECRET_KEY is of another account than the customer.")


def _alert_not_ended(customer: Customer, reason: str) -> None:
    message = f"A deleted account's subscriptions, if any, must be canceled in Stripe's dashboard: {reason}"
    alerts.send("subscription_not_ended", message, customer_id=customer.id)


def _cancel_at_stripe(customer_id: str) -> None:
    for session in stripe_client.list_open_checkouts(customer_id):
        stripe_client.expire_checkout(session.id)
    for subscription in stripe_client.list_subscriptions(customer_id):
        if subscription.status not in subscription_state.ENDED_STATUSES:
            stripe_client.cancel_now(subscription.id)


def revoke_access(user: User) -> None:
    """Do nothing: no row of billing gives access."""


def delete(user: User) -> None:
    """Remove the user from the customer's rows; Stripe's ids and amounts stay."""
    # The customer's lock is not taken: its holder may wait for the user's row, which the caller has locked.
    usage_carryover.save_usage(user)
    stripe_mirror.anonymize_customers(user)
