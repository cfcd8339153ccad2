"""Background tasks about accounts."""

import uuid
from functools import partial
from smtplib import SMTPException

from anymail.exceptions import AnymailError
from celery import shared_task

from accounts import emails, idempotency
from accounts.models import User

# A mail is retried for some minutes while its provider is down.
mail_task = partial(shared_task, autoretry_for=(AnymailError, SMTPException, OSError), retry_backoff=10, max_retries=5)


def recipient_args(user: User | None) -> tuple[str]:
    """Return the argument of a mail task: a random id if there is no user, so that enqueueing takes as long."""
    return (str(user.pk if user else uuid.uuid4()),)


@mail_task(name="accounts.tasks.send_welcome")
def send_welcome(user_id: str) -> None:
    if user := User.objects.filter(pk=user_id).first():
        emails.welcome(user)


@mail_task(name="accounts.tasks.send_verification")
def send_verification(user_id: str) -> None:
    if user := User.objects.filter(pk=user_id, email_verified_at=None).first():
        emails.verification(user)


@mail_task(name="accounts.tasks.send_password_reset")
def send_password_reset(user_id: str) -> None:
    # The task makes the token, so that the queue holds none.
    if user := User.objects.filter(pk=user_id, is_active=True).first():
        emails.password_reset(user)


@mail_task(name="accounts.tasks.send_password_changed")
def send_password_changed(user_id: str) -> None:
    if user := User.objects.filter(pk=user_id).first():
        emails.password_changed(user)


@mail_task(name="accounts.tasks.send_locked_out")
def send_locked_out(user_id: str) -> None:
    """Notify the owner, and no other person, that sign-in is locked."""
    if user := User.objects.filter(pk=user_id).first():
        emails.locked_out(user)


@mail_task(name="accounts.tasks.send_alarm")
def send_alarm(kind: str, message: str) -> None:
    emails.alarm(kind, message)


@shared_task(name="accounts.tasks.delete_expired_idempotency_keys")
def delete_expired_idempotency_keys() -> None:
    idempotency.delete_expired()
