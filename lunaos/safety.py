"""What a process refuses to start with. The floor of the settings: it imports nothing of the project."""

import ipaddress
from collections.abc import Iterator, Sequence
from urllib.parse import SplitResult, urlsplit

from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured

# What Django's own check asks for (security.W009); the prefix marks a key that `startproject` has written.
SECRET_CHARACTERS, SECRET_DISTINCT_CHARACTERS = 50, 5
INSECURE_PREFIX = "django-insecure-"
MAKE_ONE = "Make one: python -c 'import secrets; print(secrets.token_urlsafe(48))'"
MAKE_A_KEY = "python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'"


def require(
    *, debug: bool, secret_key: str, hosts: Sequence[str], public_url: str, encryption_keys: Sequence[str]
) -> None:
    """Refuse settings that would be unsafe in production; the complaint never shows a secret.

    Raises:
        ImproperlyConfigured: with all that is wrong, one line each.
    """
    complaints = [
        *_of_secret(secret_key, debug=debug),
        *_of_reach(public_url, hosts, debug=debug),
        *_of_encryption(encryption_keys),
    ]
    if complaints:
        raise ImproperlyConfigured("\n".join(complaints))


def _of_secret(secret_key: str, *, debug: bool) -> Iterator[str]:
    if not secret_key:
        yield "Set DJANGO_SECRET_KEY to a long random value (`make up` makes one by itself)."
    elif debug:
        return
    elif secret_key.startswith(INSECURE_PREFIX):
        yield f"DJANGO_SECRET_KEY is an example's ({INSECURE_PREFIX}…), which everybody knows. {MAKE_ONE}"
    elif len(secret_key) < SECRET_CHARACTERS or len(set(secret_key)) < SECRET_DISTINCT_CHARACTERS:
        yield (
            f"DJANGO_SECRET_KEY can be guessed: it needs {SECRET_CHARACTERS} characters, "
            f"{SECRET_DISTINCT_CHARACTERS} of them different. {MAKE_ONE}"
        )


def _of_reach(public_url: str, hosts: Sequence[str], *, debug: bool) -> Iterator[str]:
    if not debug and "*" in hosts:
        yield "DJANGO_ALLOWED_HOSTS may not be '*' unless DJANGO_DEBUG is on: name the hosts."
    url = _split(public_url)
    if url is None:
        yield "LUNAOS_PUBLIC_URL is no URL of a host, as https://lunaos.example.com."
    elif _is_loopback(url.hostname or ""):
        return
    elif debug:
        yield "DJANGO_DEBUG shows secrets to whoever makes an error: turn it off where LUNAOS_PUBLIC_URL is public."
    elif url.scheme != "https":
        yield "LUNAOS_PUBLIC_URL must begin with https:// unless it is this machine's: passwords and keys travel there."


def _split(public_url: str) -> SplitResult | None:
    try:
        url = urlsplit(public_url)
        return url if url.scheme in ("http", "https") and url.hostname and url.port != 0 else None
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761, 6.3
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _of_encryption(keys: Sequence[str]) -> Iterator[str]:
    for position, key in enumerate(keys, start=1):
        try:
            Fernet(key)
        except ValueError:
            yield f"Key {position} of LUNAOS_ENCRYPTION_KEYS is not 32 bytes in URL-safe base64. Make one: {MAKE_A_KEY}"
