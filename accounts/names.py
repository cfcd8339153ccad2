"""What may stand in a person's name."""

import unicodedata

from django.core.exceptions import ValidationError

NOT_ON_A_LINE = {"Cc", "Zl", "Zp"}  # Unicode's categories of control characters and of what breaks lines


def on_one_line(name: str) -> None:
    """Raises ValidationError for control characters and line breaks: mails, logs and lists would be torn by them."""
    if any(unicodedata.category(character) in NOT_ON_A_LINE for character in name):
        raise ValidationError("Keep a name to one line, without control characters.", "invalid")
