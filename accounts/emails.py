"""E-mails about accounts."""

from django.conf import settings
from django.core.mail import send_mail
from django.template.loader import render_to_string

from accounts.models import User
from accounts.signin import signed_tokens


def welcome(user: User) -> None:
    """Send a new user the first request to try and the token that confirms the address."""
    _send("Welcome to LunaOS", "welcome", user, token=signed_tokens.sign(signed_tokens.VERIFICATION, user))


def verification(user: User) -> None:
    """Send the token that confirms the address."""
    token = signed_tokens.sign(signed_tokens.VERIFICATION, user)
    _send("Confirm your email address", "verification", user, token=token)


def password_reset(user: User) -> None:
    """Send the token that sets a new password."""
    token = signed_tokens.sign(signed_tokens.PASSWORD_RESET, user)
    _send("Set a new LunaOS password", "password_reset", user, token=token)


def password_changed(user: User) -> None:
    """Notify the owner of a changed password, in case another person changed it."""
    _send("Your LunaOS password was changed", "password_changed", user)


def locked_out(user: User) -> None:
    """Notify the owner that failed sign-ins locked the account."""
    _send("Sign-in to your LunaOS account is locked", "locked_out", user, minutes=settings.LOCKOUT_MINUTES)


def alarm(kind: str, message: str) -> None:
    """Send an alert to the operators; the log has the details."""
    send_mail(
        f"LunaOS alarm: {kind}", f"{message}\n\nThe log has more, under alarm={kind}.\n", None, settings.ALARM_EMAILS
    )


def _send(subject: str, template: str, user: User, **context: object) -> None:
    text = render_to_string(f"accounts/{template}.txt", {"user": user, "url": settings.PUBLIC_URL, **context})
    send_mail(subject, text, None, [user.email])
