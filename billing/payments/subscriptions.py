"""Users' operations on a subscription: cancel, resume, change tier, open portal."""

import logging
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime

import stripe
from djstripe.models import Customer

from accounts.auditlog import alerts, trail
from accounts.auditlog.trail import Action
from accounts.models import User
from billing import tiers
from billing.errors import AlreadySubscribed, BillingConflict, BillingUnavailable, CheckoutBlocked, NoSubscription
from billing.payments import customers, disputes, plans, stripe_client, stripe_connection, subscription_state, sync
from billing.payments.subscription_state import Subscription
from lunaos.errors import LunaError

logger = logging.getLogger(__name__)
INCOMPLETE = "incomplete"  # never paid for; Stripe allows nothing but to cancel it


@dataclass(frozen=True, slots=True)
class TierChange:
    # `effective_at` is None for one that counts at once or with the payment.

    tier: str
    effective_at: datetime | None
    message: str


@dataclass(frozen=True, slots=True)
class Cancellation:
    """The result of a cancellation: when the last subscription ends, and what to say about it."""

    ends_at: datetime
    message: str


def cancel(user: User) -> Cancellation:
    """Cancel all subscriptions of a user at the end of their period, or raise NoSubscription."""
    with customers.locked(user) as customer:
        for subscription in _list_live(customer):
            _cancel_at_period_end(subscription)
        sync.refresh(customer)
        trail.record_on_commit(Action.SUBSCRIPTION_CANCEL_REQUESTED, actor=user, subject=user)
        live = [each for each in subscription_state.list_for_customer(customer) if each.is_live]
        return _describe_cancellation(max(live, key=lambda each: each.period_end, default=None))


def resume(user: User) -> None:
    """Resume subscriptions that are set to end; raise NoSubscription if none is live."""
    with customers.locked(user) as customer:
        ending = [subscription for subscription in _list_live(customer) if _is_set_to_end(subscription)]
        for subscription in ending:
            _release_schedule(subscription)
            stripe_client.resume_subscription(subscription)
        sync.refresh(customer)
        if ending:
            trail.record_on_commit(Action.SUBSCRIPTION_RESUMED, actor=user, subject=user)


def change(*, user: User, tier: str) -> TierChange:
    """Change the tier: a higher one at once, with the difference charged; a lower one at the period's end.

    Raises NoSubscription, AlreadySubscribed, CheckoutBlocked (upgrade during a dispute), PaymentRefused,
    BillingNotConfigured or BillingUnavailable.
    """
    with customers.locked(user) as customer:
        found = {subscription.id: subscription for subscription in sync.refresh(customer)}
        current = subscription_state.select_current(subscription_state.list_for_customer(customer))
        if current is None:
            raise NoSubscription()
        if _is_upgrade(current, tier) and disputes.blocks_checkout(user):
            raise CheckoutBlocked()
        with stripe_connection.long_timeout():
            effective_at = _apply_change(current, found[current.id], tier)
        trail.record_on_commit(
            Action.SUBSCRIPTION_CHANGE_REQUESTED, actor=user, subject=user, before=current.tier, after=tier
        )
        try:
            sync.refresh(customer)
        except BillingUnavailable:  # the change is made at Stripe, and its event will synchronise it
            logger.warning("Stripe could not be reached after a change; its event will synchronise the customer")
        return TierChange(tier, effective_at, _describe_change(customer, tier, effective_at))


def open_portal(user: User) -> str:
    """Return the address of the user's page in Stripe's portal, or raise NoSubscription."""
    with customers.locked(user) as customer:
        try:
            return stripe_client.create_portal_session(customer.id)
        except stripe_connection.StripeObjectMissing as e:  # deleted in Stripe's dashboard
            raise NoSubscription() from e


def _apply_change(current: Subscription, at_stripe: stripe.Subscription, tier: str) -> datetime | None:
    # Apply a change of tier at Stripe and return when it counts, None for at once.
    if at_stripe.schedule and stripe_client.is_schedule_complete(stripe_client.id_of(at_stripe.schedule)):
        _release_schedule(at_stripe)
        at_stripe = stripe_client.retrieve_subscription(at_stripe.id)
    if current.tier == tier:
        if not (at_stripe.schedule or current.cancels):
            raise AlreadySubscribed(f"Your subscription is {tier} already, and no other change is scheduled.")
        _release_schedule(at_stripe)
        if current.cancels:
            stripe_client.resume_subscription(at_stripe)
        return None
    if _is_upgrade(current, tier):
        _upgrade(current, at_stripe, tier)
        return None
    _downgrade(current, at_stripe, plans.get_price_id(tier))
    return current.period_end


def _is_upgrade(current: Subscription, tier: str) -> bool:
    return current.tier is None or tiers.get(tier).rank > tiers.get(current.tier).rank


def _downgrade(current: Subscription, at_stripe: stripe.Subscription, price_id: str) -> None:
    if at_stripe.schedule:  # the schedule itself says whether the subscription ends or goes on
        stripe_client.schedule_price(at_stripe, price_id=price_id, ends_at=current.period_end)
        return
    try:
        if current.cancels:
            stripe_client.resume_subscription(at_stripe)
        stripe_client.schedule_price(at_stripe, price_id=price_id, ends_at=current.period_end)
    except LunaError:
        _roll_back_change(at_stripe)
        raise


def _roll_back_change(before: stripe.Subscription) -> None:
    # A lost answer does not say what Stripe has done, so the subscription is fetched again. The schedule is released
    # first, since Stripe refuses a cancellation under a schedule.
    try:
        _release_schedule(stripe_client.retrieve_subscription(before.id))
        stripe_client.restore_cancellation(before)
    except LunaError:
        message = (
            "A change of tier failed halfway. Check the subscription's schedule and cancellation in Stripe's dashboard."
        )
        alerts.send("change_left_half", message, subscription=before.id, was_to_end=_is_set_to_end(before))


def _upgrade(current: Subscription, at_stripe: stripe.Subscription, tier: str) -> None:
    if at_stripe.schedule:
        raise BillingConflict(f"Another change is scheduled. Undo it first: change to {current.tier}.")
    paid = stripe_client.switch_price(
        at_stripe.id, item_id=_find_tier_item(at_stripe), price_id=plans.get_price_id(tier)
    )
    if paid and current.cancels:
        stripe_client.resume_subscription(at_stripe)


def _find_tier_item(subscription: stripe.Subscription) -> str:
    items = subscription["items"].data  # staff may have added items without a tier
    return str(next((item.id for item in items if subscription_state.tier_of_price(item.price.to_dict())), items[0].id))


def _describe_cancellation(last: Subscription | None) -> Cancellation:
    # Describe the end of the last subscription; None if all have ended at once, since none was ever paid.
    if last is None:
        return Cancellation(datetime.now(UTC), "The subscription has ended. It was never paid.")
    if last.is_paid:
        message = f"The subscription ends on {last.period_end:%Y-%m-%d}, when the paid period ends."
    else:
        message = (
            f"The subscription ends on {last.period_end:%Y-%m-%d}. Its last invoice is not paid: pay it or see it in "
            "the portal, POST /billing/portal."
        )
    return Cancellation(last.period_end, message)


def _describe_change(customer: Customer, tier: str, effective_at: datetime | None) -> str:
    now = subscription_state.select_current(subscription_state.list_for_customer(customer))
    if now and not now.gives_tier(datetime.now(UTC)):
        return f"The change to {tier} is stored, but a payment is due first. Pay in the portal: POST /billing/portal."
    if effective_at:
        return (
            f"Your subscription changes to {tier} when the {'paid' if now and now.is_paid else 'current'} period ends."
        )
    if now and now.tier == tier:
        return f"Your subscription is {tier}."
    return f"Your subscription changes to {tier} as soon as the difference is paid."


def _list_live(customer: Customer) -> list[stripe.Subscription]:
    live = [
        each
        for each in stripe_client.list_subscriptions(customer.id)
        if each.status not in subscription_state.ENDED_STATUSES
    ]
    if not live:
        raise NoSubscription()
    return live


def _cancel_at_period_end(subscription: stripe.Subscription) -> None:
    # Cancel a subscription at its period's end, or at once if never paid for.
    if subscription.status == INCOMPLETE:
        stripe_client.cancel_now(subscription.id)
        return
    _release_schedule(subscription)
    if not subscription.cancel_at_period_end:
        with (
            stripe_connection.long_timeout() if subscription.schedule else nullcontext()
        ):  # the schedule is released by now, so the cancellation must not fail
            stripe_client.cancel_at_period_end(subscription.id)


def _is_set_to_end(subscription: stripe.Subscription) -> bool:
    return subscription.cancel_at_period_end or subscription.cancel_at is not None


def _release_schedule(subscription: stripe.Subscription) -> None:
    if subscription.schedule:  # Stripe refuses changes under one
        stripe_client.release_schedule(stripe_client.id_of(subscription.schedule))
