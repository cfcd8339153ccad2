"""Mails in one layout: text and HTML from one template, with a button to a page."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string

BLANK_LINES = re.compile(r"\n{3,}")  # around an empty block
Fact = tuple[str, str]  # a figure of a mail: its name and its value


@dataclass(frozen=True, slots=True)
class Button:
    """The button of a mail; `url` comes from `page_url`."""

    label: str
    # From `page_url`.
    url: str


def page_url(path: str, **query: str) -> str:
    # From the setting: a request's Host header is the client's to choose.
    return f"{settings.PUBLIC_URL}{path}{'?' if query else ''}{urlencode(query)}"


def send(
    template: str,
    *,
    subject: str,
    to: Sequence[str],
    button: Button,
    facts: Iterable[Fact] = (),
    **context: object,
) -> None:
    """Send a mail."""
    shown = {"subject": subject, "button": button, "facts": list(facts), "public_url": settings.PUBLIC_URL, **context}
    text, html = (render_to_string(template, {**shown, "layout": f"mail/layout.{kind}"}) for kind in ("txt", "html"))
    mail = EmailMultiAlternatives(subject, BLANK_LINES.sub("\n\n", text), to=list(to))
    mail.attach_alternative(html, "text/html")
    mail.send()
