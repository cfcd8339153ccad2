"""Checkout: a page at Stripe on which a user subscribes. Paying on it gives nothing by itself; Stripe's word does."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.db import IntegrityError, transaction
from djstripe.models import Customer

from accounts import idempotency
from accounts.auditlog import trail
from accounts.auditlog.trail import Action
from accounts.idempotency import RequestKey
from accounts.models import User
from billing.errors import AlreadySubscribed, NoSubscription
from billing.payments import customers, plans, stripe_client, subscription_state, sync
from lunaos.errors import TokenInvalid

SESSION_ID = re.compile(r"cs_(test|live)_[A-Za-z0-9]{1,200}")


class _CustomerGone(stripe_client.Missing):
    """Deleted in Stripe's dashboard, or of another account."""


@dataclass(frozen=True, slots=True)
class Checkout:
    """A page to pay on.

    Args:
        replayed: it is the answer to an earlier request with the same idempotency key.
    """

    session_id: str
    url: str
    replayed: bool = False


def start(*, user: User, tier: str, idempotency_key: RequestKey | None = None) -> Checkout:
    """Make a page on which a user may subscribe; the only one that can be paid on.

    Raises:
        AlreadySubscribed: there is a subscription; change that.
        BillingNotConfigured, BillingUnavailable: Stripe cannot be asked.
        IdempotencyConflict: the key was used for another request.
        TokenInvalid: the account is deleted meanwhile.
    """
    with stripe_client.hurried(), _account_stays(user):
        customers.ensure(user)
        with customers.held(user) as customer:
            if idempotency_key and (earlier := idempotency.find(user=user, key=idempotency_key)):
                session_id, url = earlier.split(" ", 1)
                return Checkout(session_id, url, replayed=True)
            try:
                made = _make(user, customer, tier)
            except _CustomerGone:
                made = _make_anew(user, customer, tier)
            if idempotency_key:
                idempotency.claim(user=user, key=idempotency_key, result=f"{made.session_id} {made.url}")
    return made


def arrived(session_id: str) -> None:
    """Bring the customer of a session up to date: the page after checkout may be quicker than the event.

    Raises:
        BillingNotConfigured, BillingUnavailable: Stripe cannot be asked.
    """
    if not SESSION_ID.fullmatch(session_id):
        return
    with stripe_client.hurried():
        try:
            session = stripe_client.checkout(session_id)
        except stripe_client.Missing:
            return
        if session.customer and session.status == "complete":
            with transaction.atomic():
                sync.customer(stripe_client.id_of(session.customer))


@contextmanager
def _account_stays(user: User) -> Iterator[None]:
    """Rows of an account that goes meanwhile are refused, or gone, whichever comes first."""
    try:
        yield
    except (IntegrityError, NoSubscription) as e:
        if User.objects.filter(pk=user.pk).exists():
            raise
        raise TokenInvalid() from e


def _make(user: User, customer: Customer, tier: str) -> Checkout:
    """Pages first and subscriptions then, so that one that is paid on meanwhile is seen as a subscription."""
    price_id = plans.price_of(tier)
    usable = _close_others(customer, price_id)
    if any(subscription.status not in subscription_state.ENDED for subscription in sync.refresh(customer)):
        raise AlreadySubscribed()
    if usable and not stripe_client.is_deleted(stripe_client.customer(customer.id)):
        return usable
    try:
        session = stripe_client.create_checkout(customer.id, price_id, user_id=user.pk, tier=tier)
    except stripe_client.Missing as e:
        raise _CustomerGone() from e
    trail.record_on_commit(Action.CHECKOUT_STARTED, actor=user, subject=user, tier=tier, session=session.id)
    return Checkout(session.id, session.url or "")


def _make_anew(user: User, gone: Customer, tier: str) -> Checkout:
    """With another customer, whose lock is held as well: from now on others may come with that one."""
    customers.replace(user, gone)
    with customers.held(user) as customer:
        return _make(user, customer, tier)


def _close_others(customer: Customer, price_id: str) -> Checkout | None:
    """Leave one page open at the most, and only for this price; returns it."""
    usable = None
    for session in stripe_client.open_checkouts(customer.id):
        if usable is None and session.url and stripe_client.note(session, stripe_client.PRICE_KEY) == price_id:
            usable = Checkout(session.id, session.url)
        else:
            stripe_client.expire_checkout(session.id)
    return usable
