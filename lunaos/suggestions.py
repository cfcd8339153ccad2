from collections.abc import Iterable
from difflib import get_close_matches

MAX_SUGGESTED_CHARACTERS = 64  # longer names get no suggestion: comparing takes quadratic time
SIMILARITY = 0.6  # of 1, as difflib counts it


def find_nearest(name: str, known: Iterable[str], similarity: float = SIMILARITY) -> str | None:
    """Return the nearest known name; None if none is near, or the name is long."""
    if len(name) > MAX_SUGGESTED_CHARACTERS:
        return None
    return next(iter(get_close_matches(name, list(known), n=1, cutoff=similarity)), None)
