"""Checks that refuse an unsafe start; imports nothing of the project."""

import ipaddress
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation
from urllib.parse import SplitResult, urlsplit

from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured

# As Django's own check (security.W009); `startproject` writes keys with the prefix.
MIN_SECRET_KEY_CHARACTERS, MIN_DISTINCT_CHARACTERS = 50, 5
INSECURE_PREFIX = "django-insecure-"
STRIPE_HOST = "https://api.stripe.com"
STRIPE_KEY = re.compile(r"(sk|rk)_(test|live)_[A-Za-z0-9]{10,250}")
SECRET_KEY_HINT = "Create one: python -c 'import secrets; print(secrets.token_urlsafe(48))'"  # noqa: S105 - a command
ENCRYPTION_KEY_HINT = (
    "Create one: python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'"
)


def require_safe_settings(
    *, debug: bool, secret_key: str, hosts: Sequence[str], public_url: str, encryption_keys: Sequence[str]
) -> None:
    """Refuse settings that are unsafe in production, one line for each problem."""
    problems = [
        *_check_secret_key(secret_key, debug=debug),
        *_check_public_url(public_url, hosts, debug=debug),
        *_check_encryption_keys(encryption_keys),
    ]
    if problems:
        raise ImproperlyConfigured("\n".join(problems))


def is_live_key(stripe_key: str) -> bool:
    """Return whether a Stripe key moves real money (docs.stripe.com/keys)."""
    return stripe_key.split("_")[1:2] == ["live"]


def require_safe_stripe_settings(
    *, debug: bool, secret_key: str, webhook_secrets: Sequence[str], api_host: str
) -> None:
    """Refuse billing that is configured in part, or mixes test and live mode."""
    if problems := list(_check_stripe(secret_key, webhook_secrets, api_host, debug=debug)):
        raise ImproperlyConfigured("\n".join(problems))


def read_usd(name: str, text: str) -> Decimal:
    """Parse an amount of US dollars such as `2.50`; empty text is 0."""
    try:
        amount = Decimal(text or 0)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0:
        raise ImproperlyConfigured(f"{name} is {text!r}: set US dollars such as 25 or 2.50; empty or 0 for no limit.")
    return amount


def _check_stripe(secret_key: str, webhook_secrets: Sequence[str], api_host: str, *, debug: bool) -> Iterator[str]:
    if bool(secret_key) != bool(webhook_secrets):
        missing = "STRIPE_WEBHOOK_SECRETS" if secret_key else "STRIPE_SECRET_KEY"
        yield f"The configuration of billing is incomplete: set {missing} too, or neither."
    if secret_key and not STRIPE_KEY.fullmatch(secret_key):
        # No line shows a key or a secret: they go to logs.
        yield "STRIPE_SECRET_KEY is not a secret or restricted key of Stripe: set one such as sk_test_… or rk_live_…."
    if not all(secret.startswith("whsec_") for secret in webhook_secrets):
        yield "STRIPE_WEBHOOK_SECRETS must be signing secrets of webhook endpoints, whsec_…."
    host = _parse_url(api_host)
    if host is None:
        yield "STRIPE_API_HOST is not the URL of a host."
    elif api_host != STRIPE_HOST and (is_live_key(secret_key) or not _is_loopback(host.hostname or "")):
        yield "STRIPE_API_HOST may only name a double on this machine's loopback, together with a test key."
    if debug and is_live_key(secret_key):
        yield "STRIPE_SECRET_KEY is a live key while DJANGO_DEBUG is on: use a test key, or turn DJANGO_DEBUG off."


def _check_secret_key(secret_key: str, *, debug: bool) -> Iterator[str]:
    if not secret_key:
        yield "Set DJANGO_SECRET_KEY to a long random value (`make up` creates one)."
    elif debug:
        return
    elif secret_key.startswith(INSECURE_PREFIX):
        yield f"DJANGO_SECRET_KEY is an example key ({INSECURE_PREFIX}…) that is publicly known. {SECRET_KEY_HINT}"
    elif len(secret_key) < MIN_SECRET_KEY_CHARACTERS or len(set(secret_key)) < MIN_DISTINCT_CHARACTERS:
        yield (
            f"DJANGO_SECRET_KEY is too weak: it needs {MIN_SECRET_KEY_CHARACTERS} characters, "
            f"{MIN_DISTINCT_CHARACTERS} of them different. {SECRET_KEY_HINT}"
        )


def _check_public_url(public_url: str, hosts: Sequence[str], *, debug: bool) -> Iterator[str]:
    if not debug and "*" in hosts:
        yield "DJANGO_ALLOWED_HOSTS may not be '*' unless DJANGO_DEBUG is on: name the hosts."
    url = _parse_url(public_url)
    if url is None:
        yield "LUNAOS_PUBLIC_URL is not the URL of a host: set one such as https://lunaos.example.com."
    elif _is_loopback(url.hostname or ""):
        return
    elif debug:
        yield "DJANGO_DEBUG shows secrets in error pages: turn it off where LUNAOS_PUBLIC_URL is public."
    elif url.scheme != "https":
        yield "LUNAOS_PUBLIC_URL must begin with https:// unless it names this machine: clients send passwords."


def _parse_url(public_url: str) -> SplitResult | None:
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


def _check_encryption_keys(keys: Sequence[str]) -> Iterator[str]:
    for position, key in enumerate(keys, start=1):
        try:
            Fernet(key)
        except ValueError:
            yield f"Key {position} of LUNAOS_ENCRYPTION_KEYS is not 32 bytes in URL-safe base64. {ENCRYPTION_KEY_HINT}"
