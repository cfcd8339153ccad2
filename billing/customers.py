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
    """The user's customer, made where there is none.

    Raises:
        BillingNotConfigured, BillingUnavailable: Stripe cannot be asked.
    """
    if known := mirror.customer_of(user):
        return known
    locks.hold(str(user.pk), hurried=True)
    return mirror.customer_of(user) or _make(user)


@transaction.atomic
def replace(user: User, gone: Customer) -> Customer:
    """Another customer for a user, in the place of one that Stripe does not know any more."""
    locks.hold(str(user.pk), hurried=True)
    mirror.detach(gone)
    return mirror.customer_of(user) or _make(user, instead_of=gone.id)


@contextmanager
def held(user: User) -> Iterator[Customer]:
    """The user's customer, locked for the block, in which a person waits.

    Whoever held the lock before may have put another customer in the place of this one, whose lock is taken then.

    Raises:
        BillingNotConfigured: there is no Stripe to ask.
        NoSubscription: the user never was a customer.
    """
    if not gateway.is_configured():
        raise BillingNotConfigured()
    customer = _known(user)
    with gateway.hurried():
        while True:
            with locks.held(customer.id):
                known = _known(user)
                if known == customer:
                    yield known
                    return
                customer = known


def _known(user: User) -> Customer:
    if customer := mirror.customer_of(user):
        return customer
    raise NoSubscription()


def _make(user: User, instead_of: str = "") -> Customer:
    made = gateway.create_customer(user_id=user.pk, email=user.email, name=user.name, instead_of=instead_of)
    return mirror.store_customer(made, user)
