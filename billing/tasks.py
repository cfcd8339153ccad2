"""Jobs about money and quotas."""

from smtplib import SMTPException

from anymail.exceptions import AnymailError
from celery import shared_task

from accounts.models import User
from billing import emails


@shared_task(autoretry_for=(AnymailError, SMTPException, OSError), retry_backoff=10, max_retries=5)
def send_usage_warning(user_id: str, percent: int, used: int, limit: int) -> None:
    """Mail a user that the month has come to a mark."""
    if user := User.objects.filter(pk=user_id).first():
        emails.usage_warning(user, percent=percent, used=used, limit=limit)
