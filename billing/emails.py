"""E-mails about payments and quotas."""

from typing import Any

from django.core.mail import send_mail
from django.template.loader import render_to_string
from djstripe.models import Invoice

from accounts.models import User
from billing import tiers
from billing.payments import portal_links


def usage_warning(user: User, *, percent: int, used: int, limit: int) -> None:
    """Warn a user that `percent` (80 or 100) of the month's executions are used."""
    figures = {"percent": percent, "used": used, "limit": limit, "upgrade_url": tiers.upgrade_url()}
    _send(f"{percent}% of your LunaOS executions are used", "usage_warning", user, **figures)


def receipt(user: User, invoice: Invoice) -> None:
    """Send the receipt of a payment, with the tier and the period that it pays for."""
    _send("Your LunaOS receipt", "receipt", user, **_invoice_context(user, invoice, "amount_paid"))


def payment_failed(user: User, invoice: Invoice) -> None:
    """Ask for another card after a failed payment, while Stripe still retries."""
    _send("Your payment to LunaOS failed", "payment_failed", user, **_invoice_context(user, invoice, "amount_due"))


def subscription_ended(user: User) -> None:
    """Confirm that the subscription has ended, and name what remains."""
    _send("Your LunaOS subscription has ended", "subscription_ended", user, upgrade_url=tiers.upgrade_url())


def _invoice_context(user: User, invoice: Invoice, amount: str) -> dict[str, Any]:
    data = invoice.stripe_data
    return {
        "amount": f"{data[amount] / 100:.2f} {data['currency'].upper()}",
        "number": data["number"],
        "paid_tier": data["tier"],
        "portal_url": portal_links.create(user),
    }


def _send(subject: str, template: str, user: User, **context: Any) -> None:
    text = render_to_string(f"billing/{template}.txt", {"user": user, **context})
    send_mail(subject, text, None, [user.email])
