"""The connection to Stripe: the SDK's client, time-outs, and errors."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache

import requests
import stripe
from django.conf import settings

from billing.errors import BillingConflict, BillingNotConfigured, BillingUnavailable, PaymentRefused

logger = logging.getLogger(__name__)
LONG_TIMEOUT_S = 10.0  # of a request that no user waits for, or that moves money; then one retry follows
SHORT_TIMEOUT_S = (0.8, 1.0)  # to connect and to read, where a user waits; a slower Stripe counts as unreachable
LIVE_HOST = "https://api.stripe.com"
PAGE_ORIGINS = ("https://checkout.stripe.com", "https://billing.stripe.com")
RETRY_AFTER_S = 30  # of an answer while Stripe cannot be reached

_short_timeout: ContextVar[bool] = ContextVar("short_timeout", default=False)


class StripeObjectMissing(BillingConflict):
    """Stripe has no object with the id."""


def is_configured() -> bool:
    return bool(settings.STRIPE_KEY)


def page_origins() -> list[str]:
    """Return the origins of Stripe's pages, to which a form of ours may lead."""
    return [*PAGE_ORIGINS] if settings.STRIPE_HOST == LIVE_HOST else [settings.STRIPE_HOST]


@contextmanager
def short_timeout() -> Iterator[None]:
    """Give requests of the block less than two seconds and no retry: a user waits."""
    with _set_short_timeout(True):
        yield


@contextmanager
def long_timeout() -> Iterator[None]:
    """Give requests of the block LONG_TIMEOUT_S and one retry, although a user waits."""
    # For changes of several steps, which must not stop halfway.
    with _set_short_timeout(False):
        yield


def has_short_timeout() -> bool:
    return _short_timeout.get()


def client() -> stripe.StripeClient:
    """Return the SDK's client with the time-out that applies, or raise BillingNotConfigured."""
    if not is_configured():
        raise BillingNotConfigured()
    timeout_s = SHORT_TIMEOUT_S if has_short_timeout() else (LONG_TIMEOUT_S, LONG_TIMEOUT_S)
    return _build_client(settings.STRIPE_KEY, settings.STRIPE_HOST, timeout_s, int(not has_short_timeout()))


@contextmanager
def _set_short_timeout(enabled: bool) -> Iterator[None]:
    token = _short_timeout.set(enabled)
    try:
        yield
    finally:
        _short_timeout.reset(token)


@lru_cache(maxsize=8)
def _build_client(key: str, host: str, timeout_s: tuple[float, float], retries: int) -> stripe.StripeClient:
    session = requests.Session()
    session.max_redirects = 0  # so that the key goes to no other host
    return stripe.StripeClient(
        key,
        stripe_version=settings.STRIPE_API_VERSION,
        base_addresses={"api": host},
        http_client=stripe.RequestsClient(timeout=timeout_s, session=session),
        max_network_retries=retries,
    )


@contextmanager
def translate_errors() -> Iterator[None]:
    """Translate the SDK's errors to billing's; none of them shows the key."""
    try:
        yield
    except (stripe.AuthenticationError, stripe.PermissionError) as e:
        logger.critical("Stripe refuses the key in STRIPE_SECRET_KEY: %s", e.user_message)
        raise BillingUnavailable(retry_after=RETRY_AFTER_S) from e
    except stripe.CardError as e:
        raise PaymentRefused(e.user_message) from e
    except stripe.InvalidRequestError as e:
        if e.code == "resource_missing":
            raise StripeObjectMissing(f"The payment provider knows no such object (parameter {e.param}).") from e
        logger.exception("Stripe refused a request")
        raise BillingConflict() from e
    except stripe.StripeError as e:
        logger.warning("Stripe cannot be reached: %s", type(e).__name__)
        raise BillingUnavailable(retry_after=RETRY_AFTER_S) from e
