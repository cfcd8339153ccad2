"""What time does to money, called by beat; above tasks, which services enqueue."""

import logging

from celery import shared_task

from billing import grants
from billing.errors import BillingUnavailable
from billing.models import WebhookEvent
from billing.payments import reconciliation, stripe_client

logger = logging.getLogger(__name__)


@shared_task(name="billing.beat.settle_due")
def recalculate_due_tiers() -> None:
    """End grants whose time has come, and tiers whose payment is due for too long."""
    grants.recalculate_due_tiers()


@shared_task(name="billing.beat.reconcile")
def reconcile() -> None:
    """Compare with Stripe, where there is one."""
    if not stripe_client.is_configured():
        return
    try:
        for difference in reconciliation.reconcile():
            logger.warning("A customer was not up to date: %s", difference)
    except BillingUnavailable:
        logger.warning("Stripe is out of reach; the next comparison is in an hour.")


@shared_task(name="billing.beat.forget_events")
def delete_old_events() -> None:
    """Drop the ids of events that Stripe repeats no more."""
    WebhookEvent.objects.expired().delete()
