"""Mails that a worker has sent, as files in LUNAOS_MAIL_FOLDER."""

import re
from collections.abc import Callable
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from lunaos.embedded.servers import until

MAIL_TIMEOUT_S = 15
MAIL_SEPARATOR = b"\n" + b"-" * 79 + b"\n"  # Django's backend writes it after each mail


class Mailbox:
    """The mails of all users."""

    def __init__(self, folder: Path, mark: Callable[[], str]) -> None:
        # `mark` sends one more mail through the same queue, and returns its address: once that mail has arrived, so
        # have all before it.
        self._folder, self._mark = folder, mark

    def of(self, user: Any) -> list[EmailMessage]:
        """Return all mails to a user that are sent or queued by now, oldest first."""
        address = self._mark()
        assert until(lambda: bool(self._to(address)), MAIL_TIMEOUT_S), "the worker sent no mail"
        return self._to(user.email)

    def _to(self, address: str) -> list[EmailMessage]:
        files = sorted(self._folder.glob("*"), key=lambda file: file.stat().st_mtime_ns)
        mails = (
            mail for file in files for mail in file.read_bytes().split(MAIL_SEPARATOR)
        )  # mails of one second may share a file
        parsed = (message_from_bytes(mail, policy=policy.default) for mail in mails)
        return [mail for mail in parsed if mail["To"] == address]


def get_text(mail: EmailMessage) -> str:
    body = mail.get_body(("plain",))
    assert body
    return str(body.get_content())


def get_html(mail: EmailMessage) -> str:
    body = mail.get_body(("html",))
    assert body
    return str(body.get_content())


def get_button(mail: EmailMessage) -> str:
    """Return the address behind the button, which both parts of a mail have."""
    (address,) = re.findall(r'<a [^>]*href="([^"]+)"', get_html(mail))
    assert get_text(mail).count(address) == 1
    return str(address)


def get_token(mail: EmailMessage) -> str:
    (token,) = parse_qs(urlsplit(get_button(mail)).query)["token"]
    return token
