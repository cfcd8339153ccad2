"""Users' customers at Stripe."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction
from djstripe.models import Customer

from accounts.models import User
from billing import gateway, locks, mirror
from billing.errors import BillingNotConfigured, NoSubscription


@transaction.atomic
def ensure(user: User) -> Customer:
    """The user's customer, made where there is none; committed by itself, so that no later failure forgets it.

    Raises:
        BillingNotConfigured, BillingUnavailable: Stripe cannot be asked.
    """
    if known := mirror.customer_of(user):
        return known
    locks.hold(str(user.pk), hurried=True)
    if known := mirror.customer_of(user):
        return known
    made = gateway.create_customer(user_id=user.pk, email=user.email, name=user.name)
    return mirror.store_customer(made, user)


@contextmanager
def held(user: User) -> Iterator[Customer]:
    """The user's customer, locked for the block, which is one transaction.

    Raises:
        BillingNotConfigured: there is no Stripe to ask.
        NoSubscription: the user never was a customer.
    """
    if not gateway.is_configured():
        raise BillingNotConfigured()
    customer = mirror.customer_of(user)
    if customer is None:
        raise NoSubscription()
    with transaction.atomic(), gateway.hurried():
        locks.hold(customer.id, hurried=True)
        yield customer
