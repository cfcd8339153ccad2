"""E-mails about payments and quotas."""

from datetime import UTC, datetime, timedelta

from djstripe.models import Invoice

from accounts.models import User
from billing import tiers
from billing.models import MonthlyUsage
from billing.payments import invoice_links
from lunaos.infra import mails
from lunaos.infra.mails import Button, Fact, page_url

PORTAL_PATH = "/portal"


def usage_warning(user: User, *, percent: int, used: int, limit: int) -> None:
    """Warn a user that `percent` (80 or 100) of the month's executions are used."""
    _send(
        user,
        "usage_warning",
        f"{percent}% of your LunaOS executions are used",
        Button("See the plans", tiers.upgrade_url(user.tier)),
        _usage_facts(user, used, limit),
        percent=percent,
        tier=tiers.get(user.tier).name,
    )


def receipt(user: User, invoice: Invoice) -> None:
    """Send the receipt of a payment, with the tier that it pays for."""
    button = Button("Open your subscription", page_url(PORTAL_PATH))
    facts = _invoice_facts(invoice, "amount_paid")
    _send(user, "receipt", "Your LunaOS receipt", button, facts, paid_tier=invoice.stripe_data["tier"])


def payment_failed(user: User, invoice: Invoice) -> None:
    """Ask for another card after a failed payment, while Stripe still retries."""
    facts = _invoice_facts(invoice, "amount_due")
    context = {"paid_tier": invoice.stripe_data["tier"], "portal_url": page_url(PORTAL_PATH)}
    # An unconfirmed address may belong to a stranger, who must not see an invoice.
    pays_here = user.email_verified_at is not None
    url = invoice_links.create(user, invoice.id) if pays_here else page_url(PORTAL_PATH)
    button = Button("Pay now" if pays_here else "Sign in and pay", url)
    _send(user, "payment_failed", "Your payment to LunaOS failed", button, facts, pays_here=pays_here, **context)


def subscription_ended(user: User) -> None:
    """Confirm that the subscription has ended, and name what remains."""
    button = Button("See the plans", page_url(tiers.PRICING_PATH))
    _send(user, "subscription_ended", "Your LunaOS subscription has ended", button, tier=user.tier)


def _usage_facts(user: User, used: int, limit: int) -> list[Fact]:
    month = datetime.now(UTC).date().replace(day=1)
    next_month = (month + timedelta(days=31)).replace(day=1)
    counted = MonthlyUsage.objects.filter(user=user, month=month).values_list("chains", flat=True).first() or 0
    chains = min(counted, used)  # others may have started since
    return [
        ("Used", f"{used:,}"),
        ("Of these, runs of agents", f"{used - chains:,}"),
        ("Of these, runs of chains", f"{chains:,}"),
        ("Limit", f"{limit:,}"),
        ("Remaining", f"{max(0, limit - used):,}"),
        ("The next month starts", f"{next_month:%-d %B %Y}, 00:00 UTC"),
    ]


def _invoice_facts(invoice: Invoice, amount: str) -> list[Fact]:
    data = invoice.stripe_data
    number = [("Invoice", data["number"])] if data["number"] else []
    return [("Amount", f"{data[amount] / 100:.2f} {data['currency'].upper()}"), *number]


def _send(
    user: User, template: str, subject: str, button: Button, facts: list[Fact] | None = None, **context: object
) -> None:
    mails.send(
        f"billing/{template}.txt",
        subject=subject,
        to=[user.email],
        button=button,
        facts=facts or (),
        greeting=user.greeting,
        **context,
    )
