"""Signed links in e-mails, which lead to one invoice at Stripe."""

from datetime import timedelta

from django.core import signing

from accounts.models import User
from billing.payments import stripe_client, stripe_connection
from lunaos.infra.mails import page_url

SALT = "billing.invoice"
MAX_AGE = timedelta(days=7)
OPEN, PAID, CLOSED = "open", "paid", "closed"  # closed: void or written off


def create(user: User, invoice_id: str) -> str:
    """Return a link for an e-mail to a user."""
    return page_url("/pay", token=signing.dumps([str(user.pk), user.email, invoice_id], salt=SALT, compress=True))


def read(token: str) -> str | None:
    """Return the id of the invoice that a link leads to, or None if the link is not valid any more."""
    try:
        user_id, email, invoice_id = signing.loads(token, salt=SALT, max_age=MAX_AGE)
    except (signing.BadSignature, ValueError, TypeError):
        return None
    return invoice_id if User.objects.filter(pk=user_id, email=email, is_active=True).exists() else None


def find_payment_page(invoice_id: str) -> tuple[str, str]:
    """Fetch an invoice; return its state, and the page at Stripe on which an open one can be paid."""
    with stripe_connection.short_timeout():
        try:
            invoice = stripe_client.retrieve_invoice(invoice_id)
        except stripe_connection.StripeObjectMissing:
            return CLOSED, ""
    if invoice.status == "open" and invoice.hosted_invoice_url:
        return OPEN, invoice.hosted_invoice_url
    return (PAID if invoice.status == "paid" else CLOSED), ""
