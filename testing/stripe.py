"""Stripe, as its double plays it, and people who pay."""

from typing import Any

from django.db import IntegrityError, OperationalError, transaction
from djstripe.models import Customer

from billing.models import WebhookEvent
from billing.payments import customer_locks, plans, webhooks
from lunaos.embedded.servers import until
from testing.client import Api
from tools.stripe_double.double import Double

WITHIN_S = 15


class Stripe:
    """The double, with the platform's prices, and what tests do at it.

    Args:
        double: sends its events to the platform by itself, until it is told otherwise.
    """

    def __init__(self, double: Double, api: Api) -> None:
        self.double = double
        self.api = api

    def subscribe(self, user: Any, tier: str = "pro") -> str:
        """Go through checkout and wait for the tier; returns the subscription's id."""
        session_id = self.checkout(user, tier)
        subscription_id = str(self.double.pay(session_id)["subscription"])
        assert until(lambda: self.tier(user) == tier, WITHIN_S), self.double.delivered()
        return subscription_id

    def checkout(self, user: Any, tier: str = "pro") -> str:
        response = self.api.post("/billing/checkout", json={"tier": tier}, headers=self.api.as_(user))
        assert response.status_code == 200, response.text
        return str(response.json()["data"]["sessionId"])

    def tier(self, user: Any) -> str:
        user.refresh_from_db(fields=["tier"])
        return str(user.tier)

    def becomes(self, user: Any, tier: str) -> bool:
        """Whether the events bring a user to a tier."""
        return until(lambda: self.tier(user) == tier, WITHIN_S)

    def post(self, user: Any, path: str, **body: Any) -> Any:
        return self.api.post(f"/billing/{path}", json=body or None, headers=self.api.as_(user))

    def status_becomes(self, user: Any, status: str) -> bool:
        """Whether the events bring a user's subscription to a status."""
        return until(lambda: self.standing(user)["status"] == status, WITHIN_S)

    def told(self) -> None:
        """Wait until all events that were made have been taken."""
        made = [event["id"] for event in self.double.events() if event["type"] in webhooks.HANDLED_EVENT_TYPES]
        assert until(lambda: all(self.double.delivered().get(id_) == 200 for id_ in made), WITHIN_S)

    def standing(self, user: Any) -> dict[str, Any]:
        """What the platform tells the user."""
        data: dict[str, Any] = self.api.get("/billing/subscription", headers=self.api.as_(user)).json()["data"]
        return data

    def by_hand(self) -> None:
        """From now on no event is sent unless a test does."""
        self.double.deliveries(automatic=False)

    def price(self, tier: str) -> str:
        return plans.get_price_id(tier)


def cleared() -> bool:
    """Delete what is known of Stripe, customer by customer, behind whatever a server still handles for one.

    Returns:
        Whether nothing has come in between.
    """
    try:
        for customer in Customer.objects.all():
            with transaction.atomic():
                customer_locks.lock_until_commit(customer.id)
                customer.delete()
        WebhookEvent.objects.all().delete()
    except (IntegrityError, OperationalError):
        return False
    return not Customer.objects.exists()
