"""Secrets that have to be read again are encrypted at rest: Fernet (AES-128-CBC, HMAC-SHA256), with keys that rotate.

The first key encrypts, all decrypt. What is sealed is bound to a context, such as its owner, so that a row whose
content was exchanged for another one's opens as little as one that was forged.
"""

import base64
import hashlib
import hmac
from functools import cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

SEPARATOR = "\0"


class Unreadable(Exception):
    """Sealed with a key that is not there any more, for another context, or not by us."""


def seal(text: str, *, context: str) -> str:
    """Encrypt with the first key.

    Args:
        context: what `unseal` must name again; holds no NUL.
    """
    return _ring(_keys()).encrypt(f"{context}{SEPARATOR}{text}".encode()).decode()


def unseal(sealed: str, *, context: str) -> str:
    """Decrypt with whichever key fits.

    Raises:
        Unreadable: none does, or it was sealed for another context.
    """
    try:
        bound_to, _, text = _ring(_keys()).decrypt(sealed.encode()).decode().partition(SEPARATOR)
    except InvalidToken as e:
        raise Unreadable from e
    if bound_to != context:
        raise Unreadable
    return text


def is_current(sealed: str) -> bool:
    """Whether the first key sealed it."""
    try:
        _ring(_keys()[:1]).decrypt(sealed.encode())
    except InvalidToken:
        return False
    return True


def is_readable(sealed: str) -> bool:
    """Whether any key fits; for whom it was sealed is not asked."""
    try:
        _ring(_keys()).decrypt(sealed.encode())
    except InvalidToken:
        return False
    return True


def reseal(sealed: str) -> str:
    """Decrypt, and encrypt with the first key; the context stays.

    Raises:
        Unreadable: no key fits.
    """
    try:
        return _ring(_keys()).rotate(sealed.encode()).decode()
    except InvalidToken as e:
        raise Unreadable from e


def _keys() -> tuple[str, ...]:
    """LUNAOS_ENCRYPTION_KEYS, then what is derived from the secret keys: a platform that ran without can still read."""
    secrets = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    return (*settings.ENCRYPTION_KEYS, *map(_derived, secrets))


def _derived(secret: str) -> str:
    return base64.urlsafe_b64encode(hmac.digest(secret.encode(), b"lunaos.encryption", hashlib.sha256)).decode()


@cache
def _ring(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])
