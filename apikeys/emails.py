"""E-mails about API keys."""

from django.conf import settings
from django.core.mail import send_mail
from django.template.loader import render_to_string

from apikeys.models import ApiKey


def key_leaked(key: ApiKey) -> None:
    """Notify the owner that a leaked key was reported and revoked."""
    text = render_to_string("apikeys/key_leaked.txt", {"key": key, "user": key.user, "url": settings.PUBLIC_URL})
    send_mail("A LunaOS API key of yours was found and revoked", text, None, [key.user.email])
