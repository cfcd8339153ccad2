"""Mails about accounts."""

from django.conf import settings
from django.core.mail import send_mail
from django.template.loader import render_to_string

from accounts.models import User
from accounts.signin import signed_tokens


def welcome(user: User) -> None:
    """Greet a new user, show the first request, and have the address confirmed."""
    _send("Welcome to LunaOS", "welcome", user, token=signed_tokens.sign(signed_tokens.VERIFICATION, user))


def verification(user: User) -> None:
    """Have the address confirmed."""
    token = signed_tokens.sign(signed_tokens.VERIFICATION, user)
    _send("Confirm your email address", "verification", user, token=token)


def password_reset(user: User) -> None:
    """Give who reads the account's mail a way to another password."""
    token = signed_tokens.sign(signed_tokens.PASSWORD_RESET, user)
    _send("Set a new LunaOS password", "password_reset", user, token=token)


def password_changed(user: User) -> None:
    """Tell the owner, in case it was somebody else."""
    _send("Your LunaOS password was changed", "password_changed", user)


def locked_out(user: User) -> None:
    """Tell the owner of many failed sign-ins."""
    _send("Sign-in to your LunaOS account is locked", "locked_out", user, minutes=settings.LOCKOUT_MINUTES)


def alarm(kind: str, message: str) -> None:
    """Tell the operators that something is wrong; the log has the particulars."""
    send_mail(
        f"LunaOS alarm: {kind}", f"{message}\n\nThe log has more, under alarm={kind}.\n", None, settings.ALARM_EMAILS
    )


def _send(subject: str, template: str, user: User, **context: object) -> None:
    text = render_to_string(f"accounts/{template}.txt", {"user": user, "url": settings.PUBLIC_URL, **context})
    send_mail(subject, text, None, [user.email])
