"""Tasks that send billing's e-mails."""

from djstripe.models import Invoice

from accounts.models import User
from accounts.tasks import mail_task
from billing import emails


@mail_task(name="billing.tasks.send_usage_warning")
def send_usage_warning(user_id: str, percent: int, used: int, limit: int) -> None:
    if user := User.objects.filter(pk=user_id).first():
        emails.usage_warning(user, percent=percent, used=used, limit=limit)


@mail_task(name="billing.tasks.send_receipt")
def send_receipt(invoice_id: str) -> None:
    if invoice := _invoice(invoice_id):
        emails.receipt(invoice.customer.subscriber, invoice)


@mail_task(name="billing.tasks.send_payment_failed")
def send_payment_failed(invoice_id: str) -> None:
    if invoice := _invoice(invoice_id):
        emails.payment_failed(invoice.customer.subscriber, invoice)


@mail_task(name="billing.tasks.send_subscription_ended")
def send_subscription_ended(user_id: str) -> None:
    if user := User.objects.filter(pk=user_id).first():
        emails.subscription_ended(user)


def _invoice(invoice_id: str) -> Invoice | None:
    invoices = Invoice.objects.select_related("customer__subscriber").exclude(customer__subscriber=None)
    return invoices.filter(id=invoice_id).first()
