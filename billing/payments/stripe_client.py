"""All requests to Stripe."""

# No other module calls Stripe, and dj-stripe does not get the key.

import hashlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Protocol, cast
from uuid import UUID

import stripe
from django.conf import settings
from stripe import SubscriptionSchedule
from stripe.checkout import Session
from stripe.params import SubscriptionScheduleUpdateParamsPhase as ScheduleUpdateParamsPhase
from stripe.params import SubscriptionScheduleUpdateParamsPhaseDiscount as ScheduleUpdateParamsPhaseDiscount
from stripe.params.checkout import SessionCreateParams

from billing.payments.stripe_connection import StripeObjectMissing, client, translate_errors

MAX_PAGE_SIZE = 100  # Stripe's maximum
USER_KEY, TIER_KEY, PRICE_KEY = "lunaos_user", "lunaos_tier", "lunaos_price"  # keys in the metadata of Stripe's objects


class _HasId(Protocol):
    @property
    def id(self) -> str: ...


def id_of(reference: "str | _HasId") -> str:
    """Return the id of a reference, which Stripe returns as an id or as an object."""
    return reference if isinstance(reference, str) else reference.id


def metadata_value(annotated: "stripe.Customer | Session", name: str) -> str:
    """Return a value of an object's metadata; empty if there is none."""
    return str((annotated.to_dict().get("metadata") or {}).get(name, ""))


# -- Customers and their subscriptions -------------------------------------------------------------------------------


def create_customer(*, user_id: UUID, email: str, name: str, instead_of: str = "") -> stripe.Customer:
    # Stripe returns the same customer to a repetition with the same arguments within a day. `instead_of` is the id of
    # an earlier customer that Stripe does not know any more.
    content = hashlib.sha256(f"{email}\0{name}\0{instead_of}".encode()).hexdigest()[:16]
    with translate_errors():
        return client().v1.customers.create(
            {"email": email, "name": name, "metadata": {USER_KEY: str(user_id)}},
            {"idempotency_key": f"customer-{user_id}-{content}"},
        )


def retrieve_customer(customer_id: str) -> stripe.Customer:
    """Fetch a customer, or raise StripeObjectMissing."""
    with translate_errors():
        return client().v1.customers.retrieve(customer_id)


def list_subscriptions(customer_id: str) -> list[stripe.Subscription]:
    """List all subscriptions of a customer, ended ones too; may raise StripeObjectMissing."""
    # A deleted customer has an empty list. An unknown customer is an error, as where the key is of another account.
    try:
        with translate_errors():
            found = client().v1.subscriptions.list({"customer": customer_id, "status": "all", "limit": MAX_PAGE_SIZE})
            return list(found.auto_paging_iter())
    except StripeObjectMissing:
        if is_deleted(retrieve_customer(customer_id)):
            return []
        raise


def is_deleted(found: stripe.Customer) -> bool:
    """Return whether the object is the stub of a deleted customer."""
    return bool(found.to_dict().get("deleted"))


def list_all_subscriptions() -> Iterator[stripe.Subscription]:
    with translate_errors():
        yield from client().v1.subscriptions.list({"status": "all", "limit": MAX_PAGE_SIZE}).auto_paging_iter()


def list_open_invoices(subscription_id: str) -> list[stripe.Invoice]:
    with translate_errors():
        found = client().v1.invoices.list({"subscription": subscription_id, "status": "open", "limit": MAX_PAGE_SIZE})
        return list(found.auto_paging_iter())


def retrieve_invoice(invoice_id: str) -> stripe.Invoice:
    """Fetch an invoice with its payments, or raise StripeObjectMissing."""
    with translate_errors():
        return client().v1.invoices.retrieve(invoice_id, {"expand": ["payments"]})


# -- Payments, refunds and disputes ----------------------------------------------------------------------------------


def retrieve_charge(charge_id: str) -> stripe.Charge:
    """Fetch a charge, or raise StripeObjectMissing."""
    with translate_errors():
        return client().v1.charges.retrieve(charge_id)


def list_charges(payment_intent_id: str) -> list[stripe.Charge]:
    """List the charges of a payment with their refunds: the failed attempts, and the one that succeeded."""
    with translate_errors():
        found = client().v1.charges.list(
            {"payment_intent": payment_intent_id, "limit": MAX_PAGE_SIZE, "expand": ["data.refunds"]}
        )
        return list(found.auto_paging_iter())


def list_disputes(charge_id: str) -> list[stripe.Dispute]:
    """List the disputes of a charge, closed ones included."""
    with translate_errors():
        return list(client().v1.disputes.list({"charge": charge_id, "limit": MAX_PAGE_SIZE}).auto_paging_iter())


def list_invoice_ids(payment_intent_id: str) -> list[str]:
    # A charge itself does not name them.
    with translate_errors():
        found = client().v1.invoice_payments.list(
            {"payment": {"type": "payment_intent", "payment_intent": payment_intent_id}, "limit": MAX_PAGE_SIZE}
        )
        return [id_of(payment.invoice) for payment in found.auto_paging_iter()]


def list_refunds_since(moment: datetime) -> Iterator[stripe.Refund]:
    """List the refunds of all charges that were created since a moment, page by page."""
    created: stripe.params.RefundListParamsCreated = {"gte": int(moment.timestamp())}
    with translate_errors():
        yield from client().v1.refunds.list({"created": created, "limit": MAX_PAGE_SIZE}).auto_paging_iter()


def list_disputes_since(moment: datetime) -> Iterator[stripe.Dispute]:
    """List the disputes of all charges that were opened since a moment, page by page."""
    created: stripe.params.DisputeListParamsCreated = {"gte": int(moment.timestamp())}
    with translate_errors():
        yield from client().v1.disputes.list({"created": created, "limit": MAX_PAGE_SIZE}).auto_paging_iter()


# -- What customers do -----------------------------------------------------------------------------------------------


def create_checkout(customer_id: str, price_id: str, *, user_id: UUID, tier: str) -> Session:
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
    with translate_errors():
        return client().v1.checkout.sessions.create(parameters)


def list_open_checkouts(customer_id: str) -> list[Session]:
    """List a customer's pages that can still be paid on."""
    with translate_errors():
        found = client().v1.checkout.sessions.list({"customer": customer_id, "status": "open", "limit": MAX_PAGE_SIZE})
        return list(found.auto_paging_iter())


def retrieve_checkout(session_id: str) -> Session:
    """Fetch a checkout session, or raise StripeObjectMissing."""
    with translate_errors():
        return client().v1.checkout.sessions.retrieve(session_id)


def expire_checkout(session_id: str) -> None:
    """Expire a checkout page, so that the page cannot be paid on any more."""
    with translate_errors():
        client().v1.checkout.sessions.expire(session_id)


def retrieve_subscription(subscription_id: str) -> stripe.Subscription:
    """Fetch a subscription, or raise StripeObjectMissing."""
    with translate_errors():
        return client().v1.subscriptions.retrieve(subscription_id)


def cancel_at_period_end(subscription_id: str) -> None:
    """Cancel a subscription at the end of the paid period."""
    with translate_errors():
        client().v1.subscriptions.update(subscription_id, {"cancel_at_period_end": True})


def restore_cancellation(subscription: stripe.Subscription) -> None:
    """Cancel a resumed subscription again, if `subscription` says it was to end."""
    if subscription.cancel_at_period_end:
        cancel_at_period_end(subscription.id)
    elif subscription.cancel_at is not None:
        with translate_errors():
            client().v1.subscriptions.update(subscription.id, {"cancel_at": subscription.cancel_at})


def resume_subscription(subscription: stripe.Subscription) -> None:
    # The portal sets `cancel_at` in place of the flag, and Stripe accepts one of the two in a request.
    with translate_errors():
        if subscription.cancel_at_period_end:
            client().v1.subscriptions.update(subscription.id, {"cancel_at_period_end": False})
        else:
            client().v1.subscriptions.update(subscription.id, {"cancel_at": ""})


def cancel_now(subscription_id: str) -> None:
    """Cancel a subscription at once; an ended one stays as it is."""
    with translate_errors():
        try:
            client().v1.subscriptions.cancel(subscription_id)
        except stripe.InvalidRequestError as e:
            if e.code != "resource_missing":  # Stripe's code for a subscription that was canceled before
                raise


def switch_price(subscription_id: str, *, item_id: str, price_id: str) -> bool:
    """Change to another price at once, charge the difference, and return whether it is paid."""
    # Without the payment nothing changes, and the change waits for the payment, for a day at most.
    with translate_errors():
        changed = client().v1.subscriptions.update(
            subscription_id,
            {
                "items": [{"id": item_id, "price": price_id}],
                "proration_behavior": "always_invoice",
                "payment_behavior": "pending_if_incomplete",
            },
        )
    return changed.to_dict().get("pending_update") is None


def schedule_price(subscription: stripe.Subscription, *, price_id: str, ends_at: datetime) -> None:
    """Change to another price at `ends_at`, the period's end."""
    # Discounts, quantity and trial stay.
    with translate_errors():
        schedules = client().v1.subscription_schedules
        if subscription.schedule:
            schedule = schedules.retrieve(id_of(subscription.schedule))
        else:
            schedule = schedules.create({"from_subscription": subscription.id})
        phases = _build_phases(_current_phase(schedule), price_id, int(ends_at.timestamp()))
        # One request replaces an earlier plan, so that a failed request leaves that plan in force.
        schedules.update(schedule.id, {"end_behavior": "release", "phases": phases})


def is_schedule_complete(schedule_id: str) -> bool:
    """Return whether a schedule's last phase has started and nothing ends with it."""
    with translate_errors():
        schedule = client().v1.subscription_schedules.retrieve(schedule_id)
    current_start = schedule.current_phase and schedule.current_phase.start_date
    return current_start == schedule.phases[-1].start_date and schedule.end_behavior == "release"


def release_schedule(schedule_id: str) -> None:
    """Release a schedule, so that its subscription goes on unchanged."""
    with translate_errors():
        client().v1.subscription_schedules.release(schedule_id)


def create_portal_session(customer_id: str) -> str:
    """Return the address of a customer's portal page, valid for some minutes."""
    with translate_errors():
        portal = client().v1.billing_portal.sessions.create(
            {"customer": customer_id, "return_url": settings.PUBLIC_URL}
        )
        return portal.url


# -- Products and prices ---------------------------------------------------------------------------------------------


def list_prices(lookup_keys: Sequence[str]) -> list[stripe.Price]:
    with translate_errors():
        found = client().v1.prices.list({"lookup_keys": list(lookup_keys), "active": True, "limit": MAX_PAGE_SIZE})
        return list(found.auto_paging_iter())


def create_product(*, tier: str, name: str) -> str:
    with translate_errors():
        return client().v1.products.create({"name": name, "metadata": {TIER_KEY: tier}}).id


def create_price(*, product_id: str, tier: str, cents: int, lookup_key: str) -> str:
    """Create a monthly price in USD, which takes over the lookup key, and return its id."""
    with translate_errors():
        return (
            client()
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
    current_start = schedule.current_phase.start_date if schedule.current_phase else None
    return next((phase for phase in schedule.phases if phase.start_date == current_start), schedule.phases[0])


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
    # Copy discounts and tax rates, which Stripe would replace by the customer's.
    if earlier.discounts:
        kinds = ("discount", "coupon", "promotion_code")
        given = [{kind: each[kind] for kind in kinds if each[kind]} for each in earlier.discounts]
        phase["discounts"] = cast("list[ScheduleUpdateParamsPhaseDiscount]", given)
    if earlier.default_tax_rates:
        phase["default_tax_rates"] = [rate.id for rate in earlier.default_tax_rates]


def _with_session_id(url: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}session_id={{CHECKOUT_SESSION_ID}}"
