"""Jobs about money and quotas."""

from djstripe.models import Invoice

from accounts.models import User
from accounts.tasks import mail_task
from billing import emails


@mail_task(name="billing.tasks.send_usage_warning")
def send_usage_warning(user_id: str, percent: int, used: int, limit: int) -> None:
    """Mail a user that the month has come to a mark."""
    if user := User.objects.filter(pk=user_id).first():
        emails.usage_warning(user, percent=percent, used=used, limit=limit)


@mail_task(name="billing.tasks.send_receipt")
def send_receipt(invoice_id: str) -> None:
    """Mail a user that a payment has arrived."""
    if invoice := _invoice(invoice_id):
        emails.receipt(invoice.customer.subscriber, invoice)


@mail_task(name="billing.tasks.send_payment_failed")
def send_payment_failed(invoice_id: str) -> None:
    """Mail a user that a payment was refused."""
    if invoice := _invoice(invoice_id):
        emails.payment_failed(invoice.customer.subscriber, invoice)


@mail_task(name="billing.tasks.send_subscription_ended")
def send_subscription_ended(user_id: str) -> None:
    """Mail a user that a subscription is over."""
    if user := User.objects.filter(pk=user_id).first():
        emails.subscription_ended(user)


def _invoice(invoice_id: str) -> Invoice | None:
    """With its customer; None where that is no user's any more."""
    invoices = Invoice.objects.select_related("customer__subscriber").exclude(customer__subscriber=None)
    return invoices.filter(id=invoice_id).first()
