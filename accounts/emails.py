"""Mails about accounts."""

from django.conf import settings
from django.core.mail import send_mail
from django.template.loader import render_to_string

from accounts.models import User


def welcome(user: User) -> None:
    """Greet a new user and show the first request."""
    context = {"user": user, "url": settings.PUBLIC_URL}
    send_mail("Welcome to LunaOS", render_to_string("accounts/welcome.txt", context), None, [user.email])


def alarm(kind: str, message: str) -> None:
    """Tell the operators that something is wrong; the log has the particulars."""
    send_mail(
        f"LunaOS alarm: {kind}", f"{message}\n\nThe log has more, under alarm={kind}.\n", None, settings.ALARM_EMAILS
    )
