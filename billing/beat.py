"""Periodic billing tasks, which beat starts."""

# They import services, which import `billing.tasks`; so they cannot be in that module.

import logging

from celery import shared_task

from billing import grants
from billing.errors import BillingUnavailable
from billing.models import WebhookEvent
from billing.payments import reconciliation, stripe_connection

logger = logging.getLogger(__name__)


@shared_task(name="billing.beat.settle_due")
def recalculate_due_tiers() -> None:
    """End expired grants, and tiers whose payment is overdue for too long."""
    grants.recalculate_due_tiers()


@shared_task(name="billing.beat.reconcile")
def reconcile() -> None:
    """Compare subscriptions, refunds and disputes with Stripe, if Stripe is configured."""
    if not stripe_connection.is_configured():
        return
    try:
        for mismatch in reconciliation.reconcile():
            logger.warning("A customer differed from Stripe: %s", mismatch)
        for payment in reconciliation.reconcile_payments():
            logger.warning("A payment differed from Stripe: %s", payment)
    except BillingUnavailable:
        logger.warning("Stripe cannot be reached; the next comparison is in an hour.")


@shared_task(name="billing.beat.forget_events")
def delete_old_events() -> None:
    """Delete the ids of events that Stripe no longer repeats."""
    WebhookEvent.objects.expired().delete()
