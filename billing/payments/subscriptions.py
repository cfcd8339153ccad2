"""What a user does with a subscription: end it, let it go on, change its tier, see it in Stripe's portal."""

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
from billing.errors import AlreadySubscribed, BillingConflict, BillingUnavailable, NoSubscription
from billing.payments import customers, plans, stripe_client, subscription_state, sync
from billing.payments.subscription_state import Subscription
from lunaos.errors import LunaError

logger = logging.getLogger(__name__)
INCOMPLETE = "incomplete"  # never paid for: Stripe lets it only be canceled


@dataclass(frozen=True, slots=True)
class Changed:
    """Another tier.

    Args:
        at: from when on; None for at once, or as soon as the difference is paid.
    """

    tier: str
    at: datetime | None
    message: str


def cancel(user: User) -> datetime:
    """End all of a user's subscriptions with the periods that are paid.

    Returns:
        When the last of them ends.

    Raises:
        NoSubscription: there is none.
        BillingNotConfigured, BillingUnavailable: Stripe cannot be asked.
    """
    with customers.held(user) as customer:
        for subscription in _live(customer):
            _end(subscription)
        sync.refresh(customer)
        trail.record_on_commit(Action.SUBSCRIPTION_CANCEL_REQUESTED, actor=user, subject=user)
        ends = (each.period_end for each in subscription_state.of_customer(customer) if each.is_live)
        return max(ends, default=datetime.now(UTC))


def resume(user: User) -> None:
    """Let subscriptions go on that were to end; one that goes on anyway stays as it is.

    Raises:
        NoSubscription: there is none that could go on.
        BillingNotConfigured, BillingUnavailable: Stripe cannot be asked.
    """
    with customers.held(user) as customer:
        ending = [subscription for subscription in _live(customer) if _cancels(subscription)]
        for subscription in ending:
            _release(subscription)
            stripe_client.resume(subscription)
        sync.refresh(customer)
        if ending:
            trail.record_on_commit(Action.SUBSCRIPTION_RESUMED, actor=user, subject=user)


def change(*, user: User, tier: str) -> Changed:
    """Another tier: a higher one at once, for the difference in price; a lower one when the paid period ends.

    Raises:
        NoSubscription: there is none to change.
        AlreadySubscribed: it is of this tier, and nothing else is planned.
        PaymentRefused: the difference could not be charged.
        BillingNotConfigured, BillingUnavailable: Stripe cannot be asked.
    """
    with customers.held(user) as customer:
        found = {subscription.id: subscription for subscription in sync.refresh(customer)}
        mine = subscription_state.shown(subscription_state.of_customer(customer))
        if mine is None:
            raise NoSubscription()
        with stripe_client.patient():
            at = _change(mine, found[mine.id], tier)
        trail.record_on_commit(
            Action.SUBSCRIPTION_CHANGE_REQUESTED, actor=user, subject=user, before=mine.tier, after=tier
        )
        try:
            sync.refresh(customer)
        except BillingUnavailable:  # it has happened at Stripe all the same, and the event will tell
            logger.warning("After a change Stripe could not be asked")
        return Changed(tier, at, _message(customer, tier, at))


def open_portal(user: User) -> str:
    """The address of Stripe's page for the user: cards, invoices, the subscription.

    Raises:
        NoSubscription: the user never was a customer.
        BillingNotConfigured, BillingUnavailable: Stripe cannot be asked.
    """
    with customers.held(user) as customer:
        try:
            return stripe_client.create_portal(customer.id)
        except stripe_client.Missing as e:  # deleted in Stripe's dashboard
            raise NoSubscription() from e


def _change(mine: Subscription, at_stripe: stripe.Subscription, tier: str) -> datetime | None:
    """When it counts, as far as that is certain. What was planned before is given up only for what takes its place."""
    if at_stripe.schedule and stripe_client.is_carried_out(stripe_client.id_of(at_stripe.schedule)):
        _release(at_stripe)
        at_stripe = stripe_client.subscription(at_stripe.id)
    if mine.tier == tier:
        if not (at_stripe.schedule or mine.cancels):
            raise AlreadySubscribed(f"Your subscription is {tier} already, and nothing else is planned for it.")
        _release(at_stripe)
        if mine.cancels:
            stripe_client.resume(at_stripe)
        return None
    if mine.tier is None or tiers.of(tier).rank > tiers.of(mine.tier).rank:
        _upgrade(mine, at_stripe, tier)
        return None
    _downgrade(mine, at_stripe, plans.price_of(tier))
    return mine.period_end


def _downgrade(mine: Subscription, at_stripe: stripe.Subscription, price_id: str) -> None:
    if at_stripe.schedule:  # which says by itself how the subscription ends, or goes on
        stripe_client.schedule_price(at_stripe, price_id=price_id, ends_at=mine.period_end)
        return
    try:
        if mine.cancels:
            stripe_client.resume(at_stripe)
        stripe_client.schedule_price(at_stripe, price_id=price_id, ends_at=mine.period_end)
    except LunaError:
        _take_back(at_stripe)
        raise


def _take_back(before: stripe.Subscription) -> None:
    """Leave a subscription as it was: an answer that was lost tells nothing of what was done, so Stripe is asked.

    A schedule goes first, since Stripe refuses a cancellation under one.
    """
    try:
        _release(stripe_client.subscription(before.id))
        stripe_client.cancel_as_before(before)
    except LunaError:
        message = "A change of tier failed halfway: see at Stripe what is planned, and whether it was to end."
        alerts.send("change_left_half", message, subscription=before.id, was_to_end=_cancels(before))


def _upgrade(mine: Subscription, at_stripe: stripe.Subscription, tier: str) -> None:
    if at_stripe.schedule:
        raise BillingConflict(f"Another change is planned. Take it back first: change to {mine.tier}.")
    paid = stripe_client.switch_price(at_stripe.id, item_id=_item_of_tier(at_stripe), price_id=plans.price_of(tier))
    if paid and mine.cancels:
        stripe_client.resume(at_stripe)


def _item_of_tier(subscription: stripe.Subscription) -> str:
    """The item that makes the tier; staff may have added others."""
    items = subscription["items"].data
    return str(next((item.id for item in items if subscription_state.tier_of(item.price.to_dict())), items[0].id))


def _message(customer: Customer, tier: str, at: datetime | None) -> str:
    now = subscription_state.shown(subscription_state.of_customer(customer))
    if now and not now.counts(datetime.now(UTC)):
        return f"The change to {tier} is noted, but a payment is due before it counts: open POST /billing/portal."
    if at:
        return f"Your subscription is {tier} when the paid period has ended."
    if now and now.tier == tier:
        return f"Your subscription is {tier}."
    return f"Your subscription is {tier} as soon as the difference is paid."


def _live(customer: Customer) -> list[stripe.Subscription]:
    live = [each for each in stripe_client.subscriptions(customer.id) if each.status not in subscription_state.ENDED]
    if not live:
        raise NoSubscription()
    return live


def _end(subscription: stripe.Subscription) -> None:
    """With its period, whatever was planned; one that was never paid for at once."""
    if subscription.status == INCOMPLETE:
        stripe_client.cancel_now(subscription.id)
        return
    _release(subscription)
    if not subscription.cancel_at_period_end:
        with stripe_client.patient() if subscription.schedule else nullcontext():  # what was planned is given up by now
            stripe_client.cancel_at_period_end(subscription.id)


def _cancels(subscription: stripe.Subscription) -> bool:
    return subscription.cancel_at_period_end or subscription.cancel_at is not None


def _release(subscription: stripe.Subscription) -> None:
    """A schedule that is in force lets nothing else be changed."""
    if subscription.schedule:
        stripe_client.release_schedule(stripe_client.id_of(subscription.schedule))
