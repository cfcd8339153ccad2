"""Mails that a worker has sent, as the files that they are without Resend."""

from collections.abc import Callable
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from lunaos.embedded.servers import until

MAIL_TIMEOUT_S = 15
MAIL_SEPARATOR = b"\n" + b"-" * 79 + b"\n"  # as Django's backend ends each mail


class Mailbox:
    """Everybody's mails.

    Args:
        folder: that the worker's mails are written to.
        mark: sends one more mail through the same queue, and returns its address.
    """

    def __init__(self, folder: Path, mark: Callable[[], str]) -> None:
        self._folder, self._mark = folder, mark

    def of(self, user: Any) -> list[EmailMessage]:
        """All mails to a user, the oldest first, when all that is in the queue by now has been sent."""
        address = self._mark()
        assert until(lambda: bool(self._to(address)), MAIL_TIMEOUT_S), "the worker sends no mails"
        return self._to(user.email)

    def _to(self, address: str) -> list[EmailMessage]:
        files = sorted(self._folder.glob("*"), key=lambda file: file.stat().st_mtime_ns)
        mails = (
            mail for file in files for mail in file.read_bytes().split(MAIL_SEPARATOR)
        )  # those of one second may share one
        parsed = (message_from_bytes(mail, policy=policy.default) for mail in mails)
        return [mail for mail in parsed if mail["To"] == address]


def get_text(mail: EmailMessage) -> str:
    """What a mail says, as plain text."""
    body = mail.get_body(("plain",))
    assert body
    return str(body.get_content())
