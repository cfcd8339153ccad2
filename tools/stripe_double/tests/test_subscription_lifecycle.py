"""The lifecycle of a subscription, through Stripe's SDK."""

import httpx
import pytest
import stripe

from tools.stripe_double.double import Double
from tools.stripe_double.tests.plans import Plans, item, price_of, types

WALK = [
    "customer.subscription.created",
    "checkout.session.completed",
    "customer.subscription.updated",
    "customer.subscription.deleted",
]


def switch(client: stripe.StripeClient, subscription: stripe.Subscription, price: stripe.Price) -> stripe.Subscription:
    return client.v1.subscriptions.update(
        subscription.id,
        {
            "items": [{"id": item(subscription).id, "price": price.id}],
            "proration_behavior": "always_invoice",
            "payment_behavior": "pending_if_incomplete",
        },
    )


def test_it_works(double: Double, client: stripe.StripeClient, plans: Plans) -> None:
    subscription = plans.subscribed(double)
    assert (subscription.status, price_of(subscription)) == ("active", "pro_monthly")
    assert subscription.metadata.to_dict() == {"user": "1"}
    assert price_of(switch(client, subscription, plans.team)) == "team_monthly"
    assert price_of(switch(client, subscription, plans.pro)) == "pro_monthly"
    assert client.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": True}).cancel_at_period_end
    assert double.end_period(subscription.id)["status"] == "canceled"
    happened = types(double.events())
    assert [each for each in WALK if each in happened] == WALK


def test_an_upgrade_is_charged_at_once(double: Double, client: stripe.StripeClient, plans: Plans) -> None:
    upgraded = switch(client, plans.subscribed(double), plans.team)
    invoice = client.v1.invoices.retrieve(str(upgraded.latest_invoice))
    assert (invoice.status, invoice.billing_reason, invoice.total) == ("paid", "subscription_update", 3000)
    assert invoice.parent
    assert invoice.parent.subscription_details
    assert invoice.parent.subscription_details.subscription == upgraded.id


def test_an_update_event_has_previous_attributes(double: Double, client: stripe.StripeClient, plans: Plans) -> None:
    switch(client, plans.subscribed(double), plans.team)
    event = double.events("customer.subscription.updated")[-1]
    [was] = event["data"]["previous_attributes"]["items"]["data"]
    [now] = event["data"]["object"]["items"]["data"]
    assert (was["price"]["lookup_key"], now["price"]["lookup_key"]) == ("pro_monthly", "team_monthly")


def test_an_upgrade_that_is_not_paid_is_pending(double: Double, client: stripe.StripeClient, plans: Plans) -> None:
    subscription = plans.subscribed(double)
    double.set_card(str(subscription.customer), declined=True)
    waiting = switch(client, subscription, plans.team)
    assert waiting.pending_update
    assert (waiting.status, price_of(waiting)) == ("active", "pro_monthly")
    assert double.events("invoice.payment_failed")
    paid = double.recover(subscription.id)
    assert paid["items"]["data"][0]["price"]["lookup_key"] == "team_monthly"
    assert paid["pending_update"] is None


def test_pending_if_incomplete_refuses_other_parameters(
    double: Double, client: stripe.StripeClient, plans: Plans
) -> None:
    subscription = plans.subscribed(double)
    with pytest.raises(stripe.InvalidRequestError, match="you cannot pass metadata"):
        client.v1.subscriptions.update(
            subscription.id, {"payment_behavior": "pending_if_incomplete", "metadata": {"a": "b"}}
        )


def test_an_item_without_an_id_is_added(double: Double, client: stripe.StripeClient, plans: Plans) -> None:
    subscription = plans.subscribed(double)
    changed = client.v1.subscriptions.update(subscription.id, {"items": [{"price": plans.team.id}]})
    assert [each.price.lookup_key for each in changed["items"].data] == ["pro_monthly", "team_monthly"]


def test_a_period_ends_and_the_next_is_paid(double: Double, client: stripe.StripeClient, plans: Plans) -> None:
    subscription = plans.subscribed(double)
    renewed = double.end_period(subscription.id)["items"]["data"][0]
    assert renewed["current_period_start"] == item(subscription).current_period_end
    invoices = client.v1.invoices.list({"subscription": subscription.id}).data
    assert [each.billing_reason for each in invoices] == ["subscription_cycle", "subscription_create"]
    assert {each.status for each in invoices} == {"paid"}


def test_a_payment_fails_and_recovers(double: Double, plans: Plans) -> None:
    subscription = plans.subscribed(double)
    failed = double.fail_payment(subscription.id, at=1_800_000_000)
    assert failed["status"] == "past_due"
    assert failed["items"]["data"][0]["current_period_start"] == 1_800_000_000
    assert double.events("invoice.payment_failed")[0]["data"]["object"]["status"] == "open"
    assert double.recover(subscription.id)["status"] == "active"


def test_a_cancellation_can_be_undone(double: Double, client: stripe.StripeClient, plans: Plans) -> None:
    subscription = plans.subscribed(double)
    client.v1.subscriptions.update(subscription.id, {"cancel_at": "min_period_end"})
    resumed = client.v1.subscriptions.update(subscription.id, {"cancel_at": ""})
    assert (resumed.cancel_at, resumed.canceled_at) == (None, None)
    assert double.end_period(subscription.id)["status"] == "active"


def test_one_way_to_resume_does_not_undo_the_other(double: Double, client: stripe.StripeClient, plans: Plans) -> None:
    subscription = plans.subscribed(double)
    client.v1.subscriptions.update(subscription.id, {"cancel_at": "max_period_end"})
    assert client.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": False}).cancel_at
    assert client.v1.subscriptions.update(subscription.id, {"cancel_at": ""}).cancel_at is None
    client.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    assert client.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": False}).cancel_at is None
    with pytest.raises(stripe.InvalidRequestError, match="only specify one"):
        client.v1.subscriptions.update(subscription.id, {"cancel_at": "", "cancel_at_period_end": False})


def test_an_upgrade_that_is_not_paid_is_refused(double: Double, client: stripe.StripeClient, plans: Plans) -> None:
    subscription = plans.subscribed(double)
    double.set_card(str(subscription.customer), declined=True)
    with pytest.raises(stripe.CardError, match="declined"):
        client.v1.subscriptions.update(
            subscription.id,
            {
                "items": [{"id": item(subscription).id, "price": plans.team.id}],
                "proration_behavior": "always_invoice",
                "payment_behavior": "error_if_incomplete",
            },
        )
    assert price_of(client.v1.subscriptions.retrieve(subscription.id)) == "pro_monthly"


def test_a_renewal_that_is_not_paid(double: Double, client: stripe.StripeClient, plans: Plans) -> None:
    subscription = plans.subscribed(double)
    double.set_card(str(subscription.customer), declined=True)
    assert double.end_period(subscription.id)["status"] == "past_due"
    double.set_card(str(subscription.customer), declined=False)
    assert double.end_period(subscription.id)["status"] == "active"


def test_an_item_is_removed(double: Double, client: stripe.StripeClient, plans: Plans) -> None:
    subscription = plans.subscribed(double)
    old = item(subscription).id
    changed = client.v1.subscriptions.update(
        subscription.id, {"items": [{"id": old, "deleted": True}, {"price": plans.team.id}]}
    )
    assert [each.price.lookup_key for each in changed["items"].data] == ["team_monthly"]
    with pytest.raises(stripe.InvalidRequestError, match="No such subscription item"):
        client.v1.subscriptions.update(subscription.id, {"items": [{"id": old, "price": plans.pro.id}]})


def test_an_ended_subscription_cannot_change(double: Double, client: stripe.StripeClient, plans: Plans) -> None:
    subscription = plans.subscribed(double)
    client.v1.subscriptions.cancel(subscription.id)
    with pytest.raises(stripe.InvalidRequestError, match="A canceled subscription"):
        client.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": False})
    for change in (double.end_period, double.fail_payment, double.recover):
        with pytest.raises(httpx.HTTPStatusError, match="400"):
            change(subscription.id)


def test_a_deleted_customer_cannot_buy(double: Double, client: stripe.StripeClient, plans: Plans) -> None:
    customer = plans.customer()
    session = plans.session(plans.pro, customer)
    client.v1.customers.delete(customer.id)
    with pytest.raises(httpx.HTTPStatusError, match="400"):
        double.pay(session.id)
    with pytest.raises(stripe.InvalidRequestError, match="No such customer"):
        plans.session(plans.pro, customer)


def test_a_session_without_a_customer_creates_one(double: Double, client: stripe.StripeClient, plans: Plans) -> None:
    session = client.v1.checkout.sessions.create(
        {
            "mode": "subscription",
            "line_items": [{"price": plans.pro.id, "quantity": 2}],
            "customer_email": "carol@example.com",
            "success_url": "http://127.0.0.1:9/",
        }
    )
    paid = double.pay(session.id)
    assert client.v1.customers.retrieve(paid["customer"]).email == "carol@example.com"
    assert paid["amount_total"] == 4000


def test_cancel_at_once(double: Double, client: stripe.StripeClient, plans: Plans) -> None:
    subscription = plans.subscribed(double)
    assert client.v1.subscriptions.cancel(subscription.id).status == "canceled"
    customer = str(subscription.customer)
    assert client.v1.subscriptions.list({"customer": customer}).data == []
    listed = client.v1.subscriptions.list({"customer": customer, "status": "all"}).data
    assert [each.id for each in listed] == [subscription.id]
    with pytest.raises(stripe.InvalidRequestError, match="No such subscription"):
        client.v1.subscriptions.cancel(subscription.id)


def test_any_status_and_price(double: Double, client: stripe.StripeClient, plans: Plans) -> None:
    subscription = plans.subscribed(double)
    for status in ("incomplete", "trialing", "past_due", "unpaid", "paused", "canceled"):
        double.set_status(subscription.id, status)
        assert client.v1.subscriptions.retrieve(subscription.id).status == status
    double.set_price(subscription.id, plans.team.id)
    assert price_of(client.v1.subscriptions.retrieve(subscription.id)) == "team_monthly"


def test_a_deleted_customer_leaves_a_stub(double: Double, client: stripe.StripeClient, plans: Plans) -> None:
    subscription = plans.subscribed(double)
    customer = str(subscription.customer)
    assert client.v1.customers.delete(customer).deleted
    assert client.v1.customers.retrieve(customer).deleted
    assert client.v1.subscriptions.retrieve(subscription.id).status == "canceled"
    assert types(double.events())[-2:] == ["customer.subscription.deleted", "customer.deleted"]
