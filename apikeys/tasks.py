"""Jobs about keys."""

from smtplib import SMTPException

from anymail.exceptions import AnymailError
from celery import shared_task

from apikeys import emails
from apikeys.models import ApiKey


@shared_task(autoretry_for=(AnymailError, SMTPException, OSError), retry_backoff=10, max_retries=5)
def send_key_leaked(key_id: str) -> None:
    """Mail the owner of a key that was found somewhere."""
    if key := ApiKey.objects.filter(pk=key_id).select_related("user").first():
        emails.key_leaked(key)
