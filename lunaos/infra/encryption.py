"""Encryption at rest with Fernet (AES-128-CBC, HMAC-SHA256) and rotating keys."""

import base64
import hashlib
import hmac
from functools import cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

SEPARATOR = "\0"


class Unreadable(Exception):
    """Raised for text sealed with a removed key, for another context, or forged."""


def seal(text: str, *, context: str) -> str:
    """Encrypt with the first key; `unseal` needs the same context, which holds no NUL."""
    return _ring(_keys()).encrypt(f"{context}{SEPARATOR}{text}".encode()).decode()


def unseal(sealed: str, *, context: str) -> str:
    """Decrypt with any key; raise Unreadable if none fits or the context differs."""
    try:
        bound_to, _, text = _ring(_keys()).decrypt(sealed.encode()).decode().partition(SEPARATOR)
    except InvalidToken as e:
        raise Unreadable from e
    # The context, such as the owner, binds the text to its row: another row's text copied here is refused like a forged
    # one.
    if bound_to != context:
        raise Unreadable
    return text


def is_current(sealed: str) -> bool:
    """Return True if the first key sealed the text."""
    try:
        _ring(_keys()[:1]).decrypt(sealed.encode())
    except InvalidToken:
        return False
    return True


def is_readable(sealed: str) -> bool:
    """Return True if any key fits; the context is not checked."""
    try:
        _ring(_keys()).decrypt(sealed.encode())
    except InvalidToken:
        return False
    return True


def reseal(sealed: str) -> str:
    """Decrypt, and encrypt with the first key; raise Unreadable if no key fits."""
    try:
        return _ring(_keys()).rotate(sealed.encode()).decode()
    except InvalidToken as e:
        raise Unreadable from e


def _keys() -> tuple[str, ...]:
    # Keys derived from the secret keys come last, so rows from before LUNAOS_ENCRYPTION_KEYS stay readable.
    secrets = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    return (*settings.ENCRYPTION_KEYS, *map(_derived, secrets))


def _derived(secret: str) -> str:
    return base64.urlsafe_b64encode(hmac.digest(secret.encode(), b"lunaos.encryption", hashlib.sha256)).decode()


@cache
def _ring(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])
