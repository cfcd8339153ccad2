"""All requests to Stripe.

No other module calls Stripe, and dj-stripe does not get the key.
"""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from functools import lru_cache
from typing import Protocol, cast
from uuid import UUID

import requests
import stripe
from django.conf import settings
from stripe import SubscriptionSchedule
from stripe.checkout import Session
from stripe.params import SubscriptionScheduleUpdateParamsPhase as ScheduleUpdateParamsPhase
from stripe.params import SubscriptionScheduleUpdateParamsPhaseDiscount as ScheduleUpdateParamsPhaseDiscount
from stripe.params.checkout import SessionCreateParams

from billing.errors import BillingConflict, BillingNotConfigured, BillingUnavailable, PaymentRefused

logger = logging.getLogger(__name__)
LONG_TIMEOUT_S = 10.0  # of a request that no user waits for, or that moves money; then one retry follows
SHORT_TIMEOUT_S = (0.8, 1.0)  # to connect and to read, where a user waits; a slower Stripe counts as unreachable
RETRY_AFTER_S = 30
MAX_PAGE_SIZE = 100  # Stripe's maximum
USER_KEY, TIER_KEY, PRICE_KEY = "lunaos_user", "lunaos_tier", "lunaos_price"  # keys in the metadata of Stripe's objects

_short_timeout: ContextVar[bool] = ContextVar("short_timeout", default=False)


class StripeObjectMissing(BillingConflict):
    """Stripe has no object with the id."""


class _HasId(Protocol):
    @property
    def id(self) -> str: ...


def id_of(reference: "str | _HasId") -> str:
    """Return the id of a reference, which Stripe returns as an id or as an object."""
    return reference if isinstance(reference, str) else reference.id


def metadata_value(annotated: "stripe.Customer | Session", name: str) -> str:
    """Return a value of an object's metadata; empty if there is none."""
    return str((annotated.to_dict().get("metadata") or {}).get(name, ""))


def is_configured() -> bool:
    """Return whether STRIPE_SECRET_KEY is set."""
    return bool(settings.STRIPE_KEY)


@contextmanager
def short_timeout() -> Iterator[None]:
    """Allow requests within the block less than two seconds and no retry.

    For requests that a user waits for.
    """
    with _set_short_timeout(True):
        yield


@contextmanager
def long_timeout() -> Iterator[None]:
    """Allow requests within the block LONG_TIMEOUT_S and one retry.

    For changes of several steps, which must not stop halfway, although a user waits.
    """
    with _set_short_timeout(False):
        yield


def has_short_timeout() -> bool:
    """Return whether the short time-out applies."""
    return _short_timeout.get()


# -- Customers and their subscriptions -------------------------------------------------------------------------------


def create_customer(*, user_id: UUID, email: str, name: str, instead_of: str = "") -> stripe.Customer:
    """Create a user's customer at Stripe.

    Stripe returns the same customer to a repetition with the same arguments within a day.

    Args:
        user_id: stored in the customer's metadata.
        email: the user's address.
        name: the user's name.
        instead_of: the id of an earlier customer that Stripe does not know any more.
    """
    content = hashlib.sha256(f"{email}\0{name}\0{instead_of}".encode()).hexdigest()[:16]
    with _translate_errors():
        return _client().v1.customers.create(
            {"email": email, "name": name, "metadata": {USER_KEY: str(user_id)}},
            {"idempotency_key": f"customer-{user_id}-{content}"},
        )


def retrieve_customer(customer_id: str) -> stripe.Customer:
    """Fetch a customer.

    Raises:
        StripeObjectMissing: Stripe does not know the customer.
    """
    with _translate_errors():
        return _client().v1.customers.retrieve(customer_id)


def list_subscriptions(customer_id: str) -> list[stripe.Subscription]:
    """List all subscriptions of a customer, ended ones included; empty if deleted.

    Raises:
        StripeObjectMissing: Stripe does not know the customer, as where the key is of another account.
    """
    try:
        with _translate_errors():
            found = _client().v1.subscriptions.list({"customer": customer_id, "status": "all", "limit": MAX_PAGE_SIZE})
            return list(found.auto_paging_iter())
    except StripeObjectMissing:
        if is_deleted(retrieve_customer(customer_id)):
            return []
        raise


def is_deleted(found: stripe.Customer) -> bool:
    """Return whether the object is the stub of a deleted customer."""
    return bool(found.to_dict().get("deleted"))


def list_all_subscriptions() -> Iterator[stripe.Subscription]:
    """List the subscriptions of all customers, page by page."""
    with _translate_errors():
        yield from _client().v1.subscriptions.list({"status": "all", "limit": MAX_PAGE_SIZE}).auto_paging_iter()


def list_open_invoices(subscription_id: str) -> list[stripe.Invoice]:
    """List the open invoices of a subscription."""
    with _translate_errors():
        found = _client().v1.invoices.list({"subscription": subscription_id, "status": "open", "limit": MAX_PAGE_SIZE})
        return list(found.auto_paging_iter())


def retrieve_invoice(invoice_id: str) -> stripe.Invoice:
    """Fetch an invoice.

    Raises:
        StripeObjectMissing: Stripe does not know the invoice.
    """
    with _translate_errors():
        return _client().v1.invoices.retrieve(invoice_id)


# -- What customers do -----------------------------------------------------------------------------------------------


def create_checkout(customer_id: str, price_id: str, *, user_id: UUID, tier: str) -> Session:
    """Create a page at Stripe on which a customer subscribes."""
    parameters: SessionCreateParams = {
        "mode": "subscription",
        "customer": customer_id,
        "client_reference_id": str(user_id),
        "line_items": [{"price": price_id, "quantity": 1}],
        "allow_promotion_codes": True,
        "success_url": _with_session_id(settings.BILLING_SUCCESS_URL),
        "cancel_url": settings.BILLING_CANCEL_URL,
        "metadata": {TIER_KEY: tier, PRICE_KEY: price_id},
    }
    with _translate_errors():
        return _client().v1.checkout.sessions.create(parameters)


def list_open_checkouts(customer_id: str) -> list[Session]:
    """List a customer's pages that can still be paid on."""
    with _translate_errors():
        found = _client().v1.checkout.sessions.list({"customer": customer_id, "status": "open", "limit": MAX_PAGE_SIZE})
        return list(found.auto_paging_iter())


def retrieve_checkout(session_id: str) -> Session:
    """Fetch a checkout session.

    Raises:
        StripeObjectMissing: Stripe does not know the session.
    """
    with _translate_errors():
        return _client().v1.checkout.sessions.retrieve(session_id)


def expire_checkout(session_id: str) -> None:
    """Expire a checkout page, so that the page cannot be paid on any more."""
    with _translate_errors():
        _client().v1.checkout.sessions.expire(session_id)


def retrieve_subscription(subscription_id: str) -> stripe.Subscription:
    """Fetch a subscription.

    Raises:
        StripeObjectMissing: Stripe does not know the subscription.
    """
    with _translate_errors():
        return _client().v1.subscriptions.retrieve(subscription_id)


def cancel_at_period_end(subscription_id: str) -> None:
    """Cancel a subscription at the end of the paid period."""
    with _translate_errors():
        _client().v1.subscriptions.update(subscription_id, {"cancel_at_period_end": True})


def restore_cancellation(subscription: stripe.Subscription) -> None:
    """Cancel a resumed subscription again, if it was set to end before.

    Args:
        subscription: as it was before it was resumed.
    """
    if subscription.cancel_at_period_end:
        cancel_at_period_end(subscription.id)
    elif subscription.cancel_at is not None:
        with _translate_errors():
            _client().v1.subscriptions.update(subscription.id, {"cancel_at": subscription.cancel_at})


def resume_subscription(subscription: stripe.Subscription) -> None:
    """Resume a subscription that is set to end.

    The portal sets `cancel_at` in place of `cancel_at_period_end`, and Stripe accepts only one of the two in a request.
    """
    with _translate_errors():
        if subscription.cancel_at_period_end:
            _client().v1.subscriptions.update(subscription.id, {"cancel_at_period_end": False})
        else:
            _client().v1.subscriptions.update(subscription.id, {"cancel_at": ""})


def cancel_now(subscription_id: str) -> None:
    """Cancel a subscription at once; an ended one stays as it is."""
    with _translate_errors():
        try:
            _client().v1.subscriptions.cancel(subscription_id)
        except stripe.InvalidRequestError as e:
            if e.code != "resource_missing":  # Stripe's code for a subscription that was canceled before
                raise


def switch_price(subscription_id: str, *, item_id: str, price_id: str) -> bool:
    """Change to another price at once and charge the difference.

    Without the payment nothing changes.

    Returns:
        Whether the difference is paid. If not, the change waits for the payment, for a day at most.
    """
    with _translate_errors():
        changed = _client().v1.subscriptions.update(
            subscription_id,
            {
                "items": [{"id": item_id, "price": price_id}],
                "proration_behavior": "always_invoice",
                "payment_behavior": "pending_if_incomplete",
            },
        )
    return changed.to_dict().get("pending_update") is None


def schedule_price(subscription: stripe.Subscription, *, price_id: str, ends_at: datetime) -> None:
    """Change to another price at the period's end; discounts, quantity and trial stay.

    An earlier schedule is replaced in one request, so that a failed request leaves the earlier schedule in force.

    Args:
        subscription: the subscription to change.
        price_id: of the new price.
        ends_at: when the paid period ends.
    """
    with _translate_errors():
        schedules = _client().v1.subscription_schedules
        if subscription.schedule:
            schedule = schedules.retrieve(id_of(subscription.schedule))
        else:
            schedule = schedules.create({"from_subscription": subscription.id})
        phases = _build_phases(_current_phase(schedule), price_id, int(ends_at.timestamp()))
        schedules.update(schedule.id, {"end_behavior": "release", "phases": phases})


def is_schedule_complete(schedule_id: str) -> bool:
    """Return whether a schedule's last phase has started and nothing ends with it."""
    with _translate_errors():
        schedule = _client().v1.subscription_schedules.retrieve(schedule_id)
    begun = schedule.current_phase and schedule.current_phase.start_date
    return begun == schedule.phases[-1].start_date and schedule.end_behavior == "release"


def release_schedule(schedule_id: str) -> None:
    """Release a schedule, so that its subscription goes on unchanged."""
    with _translate_errors():
        _client().v1.subscription_schedules.release(schedule_id)


def create_portal_session(customer_id: str) -> str:
    """Return the address of a customer's portal page, valid for some minutes."""
    with _translate_errors():
        portal = _client().v1.billing_portal.sessions.create(
            {"customer": customer_id, "return_url": settings.PUBLIC_URL}
        )
        return portal.url


# -- Products and prices ---------------------------------------------------------------------------------------------


def list_prices(lookup_keys: Sequence[str]) -> list[stripe.Price]:
    """List the active prices with these lookup keys."""
    with _translate_errors():
        found = _client().v1.prices.list({"lookup_keys": list(lookup_keys), "active": True, "limit": MAX_PAGE_SIZE})
        return list(found.auto_paging_iter())


def create_product(*, tier: str, name: str) -> str:
    """Create a product and return its id."""
    with _translate_errors():
        return _client().v1.products.create({"name": name, "metadata": {TIER_KEY: tier}}).id


def create_price(*, product_id: str, tier: str, cents: int, lookup_key: str) -> str:
    """Create a monthly price in USD and return its id.

    The price takes the lookup key over from the price that has it.
    """
    with _translate_errors():
        return (
            _client()
            .v1.prices.create(
                {
                    "product": product_id,
                    "currency": "usd",
                    "unit_amount": cents,
                    "recurring": {"interval": "month"},
                    "lookup_key": lookup_key,
                    "transfer_lookup_key": True,
                    "metadata": {TIER_KEY: tier},
                }
            )
            .id
        )


def _current_phase(schedule: SubscriptionSchedule) -> SubscriptionSchedule.Phase:
    begun = schedule.current_phase.start_date if schedule.current_phase else None
    return next((phase for phase in schedule.phases if phase.start_date == begun), schedule.phases[0])


def _build_phases(paid: SubscriptionSchedule.Phase, price_id: str, ends: int) -> list[ScheduleUpdateParamsPhase]:
    now: ScheduleUpdateParamsPhase = {
        "items": [{"price": id_of(item.price), "quantity": item.quantity or 1} for item in paid.items],
        "start_date": paid.start_date,
        "end_date": min(paid.end_date, ends),  # staff can schedule a phase of several periods
    }
    then: ScheduleUpdateParamsPhase = {
        "items": [{"price": price_id, "quantity": paid.items[0].quantity or 1}],
        "proration_behavior": "none",
    }
    for phase in (now, then):
        _copy_discounts_and_taxes(phase, paid)
    if paid.trial_end:
        now["trial_end"] = paid.trial_end
    return [now, then]


def _copy_discounts_and_taxes(phase: ScheduleUpdateParamsPhase, earlier: SubscriptionSchedule.Phase) -> None:
    """Copy discounts and tax rates, which Stripe would replace by the customer's."""
    if earlier.discounts:
        kinds = ("discount", "coupon", "promotion_code")
        given = [{kind: each[kind] for kind in kinds if each[kind]} for each in earlier.discounts]
        phase["discounts"] = cast("list[ScheduleUpdateParamsPhaseDiscount]", given)
    if earlier.default_tax_rates:
        phase["default_tax_rates"] = [rate.id for rate in earlier.default_tax_rates]


# -- The client ------------------------------------------------------------------------------------------------------


def _client() -> stripe.StripeClient:
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
def _translate_errors() -> Iterator[None]:
    """Translate the SDK's errors to billing's; none of them shows the key."""
    try:
        yield
    except (stripe.AuthenticationError, stripe.PermissionError) as e:
        logger.critical("Stripe refuses our key: %s", e.user_message)
        raise BillingUnavailable(retry_after=RETRY_AFTER_S) from e
    except stripe.CardError as e:
        raise PaymentRefused(e.user_message) from e
    except stripe.InvalidRequestError as e:
        if e.code == "resource_missing":
            raise StripeObjectMissing(e.param) from e
        logger.exception("Stripe refuses a request")
        raise BillingConflict() from e
    except stripe.StripeError as e:
        logger.warning("Stripe is out of reach: %s", type(e).__name__)
        raise BillingUnavailable(retry_after=RETRY_AFTER_S) from e


def _with_session_id(url: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}session_id={{CHECKOUT_SESSION_ID}}"
