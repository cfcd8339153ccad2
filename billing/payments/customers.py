"""Users' customers at Stripe."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction
from djstripe.models import Customer

from accounts.models import User
from billing.errors import BillingNotConfigured, NoSubscription
from billing.payments import customer_locks, stripe_client, stripe_connection, stripe_mirror


@transaction.atomic
def get_or_create(user: User) -> Customer:
    """Return the user's customer, which is created at Stripe if there is none."""
    if known := stripe_mirror.get_customer(user):
        return known
    customer_locks.lock_until_commit(str(user.pk), short_wait=True)
    return stripe_mirror.get_customer(user) or _create(user)


@transaction.atomic
def replace(user: User, gone: Customer) -> Customer:
    """Create another customer for a user, in place of one that Stripe does not know."""
    customer_locks.lock_until_commit(str(user.pk), short_wait=True)
    stripe_mirror.detach_customer(gone)
    return stripe_mirror.get_customer(user) or _create(user, instead_of=gone.id)


@contextmanager
def locked(user: User) -> Iterator[Customer]:
    """Hold the lock of a user's customer for the block; raise NoSubscription if the user has none."""
    if not stripe_connection.is_configured():
        raise BillingNotConfigured()
    customer = _get(user)
    with stripe_connection.short_timeout():
        while True:
            with customer_locks.locked(customer.id):
                known = _get(user)
                if known == customer:
                    yield known
                    return
                customer = known  # the previous holder of the lock has replaced the customer


def _get(user: User) -> Customer:
    if customer := stripe_mirror.get_customer(user):
        return customer
    raise NoSubscription()


def _create(user: User, instead_of: str = "") -> Customer:
    created = stripe_client.create_customer(user_id=user.pk, email=user.email, name=user.name, instead_of=instead_of)
    return stripe_mirror.store_customer(created, user)
