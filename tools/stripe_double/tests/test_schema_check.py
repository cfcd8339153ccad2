"""Every object that the double returns matches the annotations of Stripe's SDK."""

import copy
from typing import Any

import httpx
import pytest
import stripe

from tools.stripe_double import schema_check
from tools.stripe_double.double import Double
from tools.stripe_double.tests.plans import KEY, Plans, item

KINDS = {
    "account",
    "billing_portal.configuration",
    "billing_portal.session",
    "charge",
    "checkout.session",
    "customer",
    "dispute",
    "event",
    "invoice",
    "invoice_payment",
    "payment_intent",
    "plan",
    "price",
    "product",
    "refund",
    "subscription",
    "subscription_item",
    "subscription_schedule",
    "webhook_endpoint",
}


def walk(double: Double, client: stripe.StripeClient, plans: Plans) -> None:
    """Call every route that creates or changes something."""
    v1 = client.v1
    v1.products.update(str(plans.pro.product), {"description": "For one", "metadata": {"tier": "pro"}})
    v1.prices.update(plans.pro.id, {"nickname": "Pro"})
    v1.checkout.sessions.expire(plans.session(plans.pro).id)
    subscription = plans.subscribed(double, plans.team)
    customer = str(subscription.customer)
    v1.customers.update(customer, {"name": "Alice", "address": {"city": "Berlin", "country": "DE"}})
    schedule = v1.subscription_schedules.create({"from_subscription": subscription.id})
    v1.subscription_schedules.update(
        schedule.id,
        {
            "phases": [
                {"items": [{"price": plans.team.id}], "end_date": schedule.phases[0].end_date},
                {"items": [{"price": plans.pro.id}], "duration": {"interval": "month", "interval_count": 1}},
            ]
        },
    )
    double.end_period(subscription.id)
    v1.subscription_schedules.release(schedule.id)
    double.set_card(customer, declined=True)
    v1.subscriptions.update(
        subscription.id,
        {
            "items": [{"id": item(subscription).id, "price": plans.team.id}],
            "proration_behavior": "always_invoice",
            "payment_behavior": "pending_if_incomplete",
        },
    )
    double.recover(subscription.id)
    double.fail_payment(subscription.id)
    double.fail_payment(subscription.id)
    double.recover(subscription.id)
    reverse(double, client, customer)
    v1.subscriptions.update(
        subscription.id, {"cancel_at_period_end": True, "cancellation_details": {"feedback": "unused"}}
    )
    v1.billing_portal.configurations.create({"features": {"subscription_cancel": {"enabled": True}}, "name": "Small"})
    v1.billing_portal.sessions.create(
        {
            "customer": customer,
            "flow_data": {"type": "subscription_cancel", "subscription_cancel": {"subscription": subscription.id}},
        }
    )
    v1.webhook_endpoints.create({"url": "https://example.com/hook", "enabled_events": ["invoice.paid"]})
    double.end_period(subscription.id)
    v1.customers.delete(plans.subscribed(double).customer)  # type: ignore[arg-type]


def reverse(double: Double, client: stripe.StripeClient, customer: str) -> None:
    """Refund and dispute the customer's newest payments."""
    paid = [each.id for each in client.v1.charges.list({"customer": customer}) if each.paid]
    double.fail_refund(double.refund(paid[0], amount=100)["id"])
    client.v1.refunds.create({"charge": paid[0], "reason": "requested_by_customer"})
    double.set_dispute(double.dispute(paid[1])["id"], "won")
    inquiry = double.dispute(paid[1], inquiry=True)
    double.set_dispute(inquiry["id"], "needs_response")
    client.v1.disputes.close(inquiry["id"])
    double.charge()


LISTS = [
    "customers",
    "products",
    "prices",
    "checkout/sessions?expand[]=data.line_items",
    "billing_portal/configurations",
    "subscriptions?status=all",
    "subscription_schedules",
    "invoices?expand[]=data.payments",
    "invoice_payments",
    "charges?expand[]=data.refunds",
    "refunds",
    "disputes",
    "events",
    "webhook_endpoints",
]


def emitted(double: Double, plans: Plans) -> list[dict[str, Any]]:
    """Yield all objects that can be listed, and those of all events."""
    shown: list[dict[str, Any]] = [event["data"]["object"] for event in double.events()]
    with httpx.Client(base_url=double.url, headers={"Authorization": f"Bearer {KEY}"}) as browser:
        for path in LISTS:
            answer = browser.get(f"/v1/{path}{'&' if '?' in path else '?'}limit=100").json()
            assert answer.keys() == {"object", "data", "has_more", "url"}
            shown += answer["data"]
        shown += [browser.get(f"/v1/{path}").json() for path in ("account", f"plans/{plans.pro.id}")]
    items = [each["items"]["data"] for each in shown if each["object"] == "subscription"]
    return shown + [each for some in items for each in some]


def test_it_works(double: Double, client: stripe.StripeClient, plans: Plans) -> None:
    walk(double, client, plans)
    shown = emitted(double, plans)
    assert {each["object"] for each in shown} == KINDS
    assert len(shown) > 100
    assert [fault for each in shown for fault in schema_check.schema_errors(each)] == []


def test_an_event_type_that_stripe_does_not_know(double: Double, client: stripe.StripeClient) -> None:
    client.v1.customers.create({})
    [event] = double.events()
    event["type"] = "customer.invented"
    assert schema_check.schema_errors(event) == ["event.type: 'customer.invented' is not listed"]


@pytest.fixture
def whole(double: Double, client: stripe.StripeClient, plans: Plans) -> dict[str, Any]:
    plans.subscribed(double)
    subscription: dict[str, Any] = copy.deepcopy(double.events("customer.subscription.created")[0]["data"]["object"])
    assert schema_check.schema_errors(subscription) == []
    return subscription


def test_an_unknown_field(whole: dict[str, Any]) -> None:
    whole["current_period_end"] = 1  # its place in older versions
    assert schema_check.schema_errors(whole) == ["subscription.current_period_end: unknown"]


def test_a_missing_field(whole: dict[str, Any]) -> None:
    del whole["status"], whole["items"]["data"][0]["price"]["active"]
    assert set(schema_check.schema_errors(whole)) == {
        "subscription.status: missing",
        "subscription.items.data[0].price.active: missing",
    }


def test_a_value_that_is_not_listed(whole: dict[str, Any]) -> None:
    whole["items"]["data"][0]["price"]["recurring"]["interval"] = "decade"
    assert schema_check.schema_errors(whole) == [
        "subscription.items.data[0].price.recurring.interval: 'decade' is not listed"
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("created", "now"),
        ("created", True),
        ("livemode", 0),
        ("items", []),
        ("items", {"data": []}),
        ("metadata", {"a": 1}),
        ("metadata", None),
        ("discounts", None),
        ("automatic_tax", "off"),
        ("cancel_at", "soon"),
    ],
)
def test_a_value_of_the_wrong_kind(whole: dict[str, Any], name: str, value: Any) -> None:
    whole[name] = value
    assert schema_check.schema_errors(whole)
    assert all(fault.startswith(f"subscription.{name}") for fault in schema_check.schema_errors(whole))


def test_an_object_that_stripe_does_not_have() -> None:
    assert schema_check.schema_errors({"id": "x_1", "object": "tier"}) == ["the SDK has no class for 'tier'"]


def test_a_deleted_object_is_a_stub() -> None:
    stub = {"id": "cus_1", "object": "customer", "deleted": True}
    assert schema_check.schema_errors(stub) == []
    assert schema_check.schema_errors({**stub, "email": "a@example.com"}) == [
        "customer.email: unknown in what was deleted"
    ]
