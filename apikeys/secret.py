"""The form of a key: `lnos_live_` and 32 hex characters, 128 random bits (CONTRACT, section 4)."""

import hashlib
import re
import secrets

from django.conf import settings
from django.utils.crypto import salted_hmac

MARK = "lnos_live_"
SHOWN = len(MARK) + 8
FORM = re.compile(rf"{MARK}[0-9a-f]{{32}}\Z")
SEED_BYTES = 16


def seed() -> str:
    """128 random bits that a key can be made of, again and again while they are kept."""
    return secrets.token_hex(SEED_BYTES)


def of(seed: str, secret_key: str | None = None) -> str:
    """The key that belongs to a seed.

    Args:
        secret_key: of this server, which alone can make keys of seeds; today's where None.
    """
    value = salted_hmac("apikeys.secret", seed, secret=secret_key or settings.SECRET_KEY, algorithm="sha256")
    return MARK + value.hexdigest()[:32]


def again(seed: str, digest: str) -> str | None:
    """The key that was made of a seed, also where the server's secret has been rotated since; None without it."""
    known = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    return next((key for key in (of(seed, secret_key) for secret_key in known) if digest_of(key) == digest), None)


def digest_of(key: str) -> str:
    """What is kept of a key. It is random, so a slow hash would add nothing."""
    return hashlib.sha256(key.encode()).hexdigest()
