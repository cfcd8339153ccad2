"""Two plans, Pro and Team, and their customers."""

from typing import Any

import stripe

from tools.stripe_double.double import Double

KEY = "sk_test_" + "d" * 24
SECRET = "whsec_" + "s" * 32


class Plans:
    """Two products with a price each, and the requests that sell them."""

    def __init__(self, client: stripe.StripeClient) -> None:
        self.client = client
        self.pro = self._price("Pro", "pro_monthly", 2000)
        self.team = self._price("Team", "team_monthly", 5000)

    def _price(self, name: str, lookup_key: str, amount: int) -> stripe.Price:
        product = self.client.v1.products.create({"name": name})
        return self.client.v1.prices.create(
            {
                "product": product.id,
                "currency": "usd",
                "unit_amount": amount,
                "recurring": {"interval": "month"},
                "lookup_key": lookup_key,
            }
        )

    def customer(self, email: str = "alice@example.com") -> stripe.Customer:
        return self.client.v1.customers.create({"email": email})

    def session(self, price: stripe.Price, customer: stripe.Customer | None = None) -> stripe.checkout.Session:
        """Create a checkout session as the product does."""
        return self.client.v1.checkout.sessions.create(
            {
                "mode": "subscription",
                "customer": (customer or self.customer()).id,
                "line_items": [{"price": price.id, "quantity": 1}],
                "client_reference_id": "user-1",
                "metadata": {"user": "1"},
                "subscription_data": {"metadata": {"user": "1"}},
                "success_url": "http://127.0.0.1:9/done?session={CHECKOUT_SESSION_ID}",
                "cancel_url": "http://127.0.0.1:9/plans",
            }
        )

    def subscribed(
        self, double: Double, price: stripe.Price | None = None, customer: stripe.Customer | None = None
    ) -> stripe.Subscription:
        """Return a subscription that was bought and paid."""
        session = double.pay(self.session(price or self.pro, customer).id)
        return self.client.v1.subscriptions.retrieve(session["subscription"])


def item(subscription: stripe.Subscription) -> stripe.SubscriptionItem:
    """Return the subscription's one item; `subscription.items` is a dict method."""
    found: stripe.SubscriptionItem = subscription["items"].data[0]
    return found


def price_of(subscription: stripe.Subscription) -> str:
    return str(item(subscription).price.lookup_key)


def types(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]
