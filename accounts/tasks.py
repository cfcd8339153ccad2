"""Jobs about accounts."""

from smtplib import SMTPException

from anymail.exceptions import AnymailError
from celery import shared_task

from accounts import emails, idempotency
from accounts.models import User


@shared_task(autoretry_for=(AnymailError, SMTPException, OSError), retry_backoff=10, max_retries=5)
def send_welcome(user_id: str) -> None:
    """Mail a new user; the provider being down is tried again for some minutes."""
    if user := User.objects.filter(pk=user_id).first():
        emails.welcome(user)


@shared_task(autoretry_for=(AnymailError, SMTPException, OSError), retry_backoff=10, max_retries=5)
def send_alarm(kind: str, message: str) -> None:
    """Mail the operators."""
    emails.alarm(kind, message)


@shared_task
def delete_expired_idempotency_keys() -> None:
    idempotency.delete_expired()
