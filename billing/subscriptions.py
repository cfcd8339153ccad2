"""What a user does with a subscription: end it, let it go on, change its tier, see it in Stripe's portal."""

from dataclasses import dataclass
from datetime import datetime

import stripe
from djstripe.models import Customer

from accounts import audit
from accounts.audit import Action
from accounts.models import User
from billing import customers, gateway, plans, standing, sync, tiers
from billing.errors import AlreadySubscribed, NoSubscription
from billing.standing import Subscription

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
            if subscription.status == INCOMPLETE:
                gateway.cancel_now(subscription.id)
                continue
            _release(subscription)
            if not _cancels(subscription):
                gateway.cancel_at_period_end(subscription.id)
        _sync(customer)
        audit.record(Action.SUBSCRIPTION_CANCEL_REQUESTED, actor=user, subject=user)
        return max(each.period_end for each in standing.of_customer(customer))


def resume(user: User) -> None:
    """Let subscriptions go on that were to end; one that goes on anyway stays as it is.

    Raises:
        NoSubscription: there is none that could go on.
        BillingNotConfigured, BillingUnavailable: Stripe cannot be asked.
    """
    with customers.held(user) as customer:
        ending = [subscription for subscription in _live(customer) if _cancels(subscription)]
        for subscription in ending:
            gateway.resume(subscription)
        _sync(customer)
        if ending:
            audit.record(Action.SUBSCRIPTION_RESUMED, actor=user, subject=user)


def change(*, user: User, tier: str) -> Changed:
    """Another tier: a higher one at once, for the difference in price; a lower one when the paid period ends.

    Raises:
        NoSubscription: there is none to change.
        AlreadySubscribed: it is of this tier, and nothing else is planned.
        PaymentRefused: the difference could not be charged.
        BillingNotConfigured, BillingUnavailable: Stripe cannot be asked.
    """
    with customers.held(user) as customer:
        found = gateway.subscriptions(customer.id)
        sync.update(customer, found)
        mine = standing.shown(standing.of_customer(customer))
        if mine is None:
            raise NoSubscription()
        at = _change(mine, next(each for each in found if each.id == mine.id), tier)
        _sync(customer)
        audit.record(Action.SUBSCRIPTION_CHANGE_REQUESTED, actor=user, subject=user, before=mine.tier, after=tier)
        return Changed(tier, at, _message(customer, tier, at))


def open_portal(user: User) -> str:
    """The address of Stripe's page for the user: cards, invoices, the subscription.

    Raises:
        NoSubscription: the user never was a customer.
        BillingNotConfigured, BillingUnavailable: Stripe cannot be asked.
    """
    with customers.held(user) as customer:
        return gateway.create_portal(customer.id)


def _change(mine: Subscription, at_stripe: stripe.Subscription, tier: str) -> datetime | None:
    """When it counts, as far as that is certain."""
    if mine.tier == tier and not (at_stripe.schedule or mine.cancels):
        raise AlreadySubscribed()
    price_id = plans.price_of(tier)
    _release(at_stripe)
    if mine.cancels:
        gateway.resume(at_stripe)
    if mine.tier is not None and tiers.of(tier).rank < tiers.of(mine.tier).rank:
        gateway.schedule_price(at_stripe, price_id=price_id)
        return mine.period_end
    if mine.tier != tier:
        gateway.switch_price(at_stripe.id, item_id=at_stripe["items"].data[0].id, price_id=price_id)
    return None


def _message(customer: Customer, tier: str, at: datetime | None) -> str:
    now = standing.shown(standing.of_customer(customer))
    if at:
        return f"Your subscription is {tier} when the paid period has ended."
    if now and now.tier == tier:
        return f"Your subscription is {tier}."
    return f"Your subscription is {tier} as soon as the difference is paid."


def _live(customer: Customer) -> list[stripe.Subscription]:
    live = [each for each in gateway.subscriptions(customer.id) if each.status not in standing.ENDED]
    if not live:
        raise NoSubscription()
    return live


def _cancels(subscription: stripe.Subscription) -> bool:
    return subscription.cancel_at_period_end or subscription.cancel_at is not None


def _release(subscription: stripe.Subscription) -> None:
    """A schedule that is in force lets nothing else be changed."""
    if subscription.schedule:
        gateway.release_schedule(gateway.id_of(subscription.schedule))


def _sync(customer: Customer) -> None:
    sync.update(customer, gateway.subscriptions(customer.id))
