"""What may stand in a person's name."""

import unicodedata

from django.core.exceptions import ValidationError

FORBIDDEN_CATEGORIES = {"Cc", "Zl", "Zp"}  # Unicode's categories of control characters and of what breaks lines


def validate_single_line(name: str) -> None:
    """Raises ValidationError for control characters and line breaks: mails, logs and lists would be torn by them."""
    if any(unicodedata.category(character) in FORBIDDEN_CATEGORIES for character in name):
        raise ValidationError("Keep a name to one line, without control characters.", "invalid")
