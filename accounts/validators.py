"""Validators of fields of an account."""

import unicodedata

from django.core.exceptions import ValidationError

FORBIDDEN_CATEGORIES = {"Cc", "Zl", "Zp"}  # Unicode: control characters, line and paragraph separators


def validate_single_line(name: str) -> None:
    """Raise ValidationError for control characters and line breaks."""
    # They would break mails, logs and lists.
    if any(unicodedata.category(character) in FORBIDDEN_CATEGORIES for character in name):
        raise ValidationError("Keep a name to one line, without control characters.", "invalid")
