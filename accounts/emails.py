"""E-mails about accounts."""

from typing import Any

from django.conf import settings

from accounts.models import User
from accounts.signin import signed_tokens
from lunaos.infra import mails
from lunaos.infra.mails import Button, page_url


def welcome(user: User) -> None:
    _send(user, "welcome", "Welcome to LunaOS", _confirm_button(user))


def verification(user: User) -> None:
    _send(user, "verification", "Confirm your email address", _confirm_button(user))


def password_reset(user: User) -> None:
    token = signed_tokens.sign(signed_tokens.PASSWORD_RESET, user)
    button = Button("Set a new password", page_url("/reset-password", token=token))
    _send(user, "password_reset", "Set a new LunaOS password", button)


def password_changed(user: User) -> None:
    """Notify the owner of a changed password, in case another person changed it."""
    _send(user, "password_changed", "Your LunaOS password was changed", _forgot_button())


def locked_out(user: User) -> None:
    minutes = settings.LOCKOUT_MINUTES
    _send(user, "locked_out", "Sign-in to your LunaOS account is locked", _forgot_button(), minutes=minutes)


def alarm(kind: str, message: str) -> None:
    """Send an alert to the operators; the log has the details."""
    button = Button("Open the admin", page_url("/admin/"))
    subject = f"LunaOS alarm: {kind}"
    mails.send(
        "accounts/alarm.txt", subject=subject, to=settings.ALARM_EMAILS, button=button, kind=kind, message=message
    )


def _confirm_button(user: User) -> Button:
    token = signed_tokens.sign(signed_tokens.VERIFICATION, user)
    return Button("Confirm your address", page_url("/confirm-email", token=token))


def _forgot_button() -> Button:
    return Button("Set a new password", page_url("/forgot-password"))


def _send(user: User, template: str, subject: str, button: Button, **context: Any) -> None:
    mails.send(
        f"accounts/{template}.txt", subject=subject, to=[user.email], button=button, greeting=user.greeting, **context
    )
