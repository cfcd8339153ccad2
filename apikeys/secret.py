"""Format of an API key: `lnos_live_` and 32 hex characters, 128 random bits (CONTRACT, section 4)."""

import hashlib
import re
import secrets

from django.conf import settings
from django.utils.crypto import salted_hmac

KEY_PREFIX = "lnos_live_"
DISPLAYED_LENGTH = len(KEY_PREFIX) + 8
KEY_PATTERN = re.compile(rf"{KEY_PREFIX}[0-9a-f]{{32}}\Z")
SEED_BYTES = 16


def new_seed() -> str:
    """Return 128 random bits in hex, from which the server can derive one key repeatedly."""
    return secrets.token_hex(SEED_BYTES)


def derive_key(seed: str, secret_key: str | None = None) -> str:
    value = salted_hmac("apikeys.secret", seed, secret=secret_key or settings.SECRET_KEY, algorithm="sha256")
    return KEY_PREFIX + value.hexdigest()[:32]


def recover_key(seed: str, digest: str) -> str | None:
    """Return the key of a seed, or None if no known server secret made it."""
    # The old secrets too, so that a repeated request is answered after a rotation of SECRET_KEY.
    known = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    return next(
        (key for key in (derive_key(seed, secret_key) for secret_key in known) if hash_key(key) == digest), None
    )


def hash_key(key: str) -> str:
    # Keys are random, so a slow hash would add nothing.
    return hashlib.sha256(key.encode()).hexdigest()
