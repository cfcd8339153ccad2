"""Names of others, shown to people and to models."""


def escape_invisible(text: str) -> str:
    """Return a text in which characters that show nothing, or reorder others, are escaped."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape", "backslashreplace").decode() for each in text
    )
