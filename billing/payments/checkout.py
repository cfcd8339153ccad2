"""Checkout: pages at Stripe on which users subscribe."""

# A visit to the page or to the return address grants nothing. The tier changes when Stripe reports the subscription.

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
from billing.errors import AlreadySubscribed, CheckoutBlocked, NoSubscription
from billing.payments import customers, disputes, plans, stripe_client, stripe_connection, subscription_state, sync
from lunaos.errors import TokenInvalid

SESSION_ID = re.compile(r"cs_(test|live)_[A-Za-z0-9]{1,200}")


class _CustomerMissing(stripe_connection.StripeObjectMissing):
    """The customer was deleted in Stripe's dashboard, or is of another account."""


@dataclass(frozen=True, slots=True)
class Checkout:
    """A page at Stripe on which a user can pay, perhaps of an earlier request with the same idempotency key."""

    session_id: str
    url: str
    replayed: bool = False


def start(*, user: User, tier: str, idempotency_key: RequestKey | None = None) -> Checkout:
    """Create the page on which a user may subscribe, and expire all others.

    Raises AlreadySubscribed, CheckoutBlocked (a disputed payment), BillingNotConfigured, BillingUnavailable,
    IdempotencyConflict, or TokenInvalid if the account was deleted meanwhile.
    """
    with stripe_connection.short_timeout(), _reject_deleted_account(user):
        customers.get_or_create(user)
        with customers.locked(user) as customer:
            if disputes.blocks_checkout(user):
                raise CheckoutBlocked()
            if idempotency_key and (earlier := idempotency.find(user=user, key=idempotency_key)):
                session_id, url = earlier.split(" ", 1)
                return Checkout(session_id, url, replayed=True)
            try:
                page = _create_page(user, customer, tier)
            except _CustomerMissing:
                page = _create_page_with_new_customer(user, customer, tier)
            if idempotency_key:
                idempotency.claim(user=user, key=idempotency_key, result=f"{page.session_id} {page.url}")
    return page


def sync_session(session_id: str) -> None:
    """Synchronise the customer of a complete checkout session."""
    # Ignore unknown and malformed ids.
    # The page after checkout calls this, since it may load before Stripe's event arrives.
    if not SESSION_ID.fullmatch(session_id):
        return
    with stripe_connection.short_timeout():
        try:
            session = stripe_client.retrieve_checkout(session_id)
        except stripe_connection.StripeObjectMissing:
            return
        if session.customer and session.status == "complete":
            with transaction.atomic():
                sync.sync_customer(stripe_client.id_of(session.customer))


@contextmanager
def _reject_deleted_account(user: User) -> Iterator[None]:
    # Raise TokenInvalid where the block fails since the account was deleted.
    try:
        yield
    except (IntegrityError, NoSubscription) as e:
        if User.objects.filter(pk=user.pk).exists():
            raise
        raise TokenInvalid() from e


def _create_page(user: User, customer: Customer, tier: str) -> Checkout:
    price_id = plans.get_price_id(tier)
    # Pages before subscriptions: a page that is paid on meanwhile then shows up as a subscription.
    usable = _expire_other_pages(customer, price_id)
    if any(subscription.status not in subscription_state.ENDED_STATUSES for subscription in sync.refresh(customer)):
        raise AlreadySubscribed()
    if usable and not stripe_client.is_deleted(stripe_client.retrieve_customer(customer.id)):
        return usable
    try:
        session = stripe_client.create_checkout(customer.id, price_id, user_id=user.pk, tier=tier)
    except stripe_connection.StripeObjectMissing as e:
        raise _CustomerMissing() from e
    trail.record_on_commit(Action.CHECKOUT_STARTED, actor=user, subject=user, tier=tier, session=session.id)
    return Checkout(session.id, session.url or "")


def _create_page_with_new_customer(user: User, gone: Customer, tier: str) -> Checkout:
    customers.replace(user, gone)
    # The new customer is locked too, since other requests may already use it.
    with customers.locked(user) as customer:
        return _create_page(user, customer, tier)


def _expire_other_pages(customer: Customer, price_id: str) -> Checkout | None:
    # Expire all open pages except one for this price, which is returned.
    usable = None
    for session in stripe_client.list_open_checkouts(customer.id):
        if (
            usable is None
            and session.url
            and stripe_client.metadata_value(session, stripe_client.PRICE_KEY) == price_id
        ):
            usable = Checkout(session.id, session.url)
        else:
            stripe_client.expire_checkout(session.id)
    return usable
