"""Deliveries of events to the webhook."""

import json
import time

import pytest
import stripe

from tools.stripe_double.deliveries import DEFAULT_EVENT_TYPES
from tools.stripe_double.double import Double
from tools.stripe_double.tests.plans import SECRET, Plans
from tools.stripe_double.tests.receiver import WebhookReceiver

BOUGHT = {"customer.subscription.created", "invoice.paid", "checkout.session.completed"}


def test_it_works(double: Double, receiver: WebhookReceiver, plans: Plans) -> None:
    plans.subscribed(double)
    events = receiver.events(3, SECRET)
    assert {event.type for event in events} == BOUGHT
    assert {event.api_version for event in events} == {"2026-05-27.dahlia"}
    assert not any(event.livemode for event in events)


def test_only_subscribed_types_are_sent_and_all_are_stored(
    double: Double, receiver: WebhookReceiver, plans: Plans
) -> None:
    plans.subscribed(double)
    receiver.until(3)
    created = double.events()
    assert {event["type"] for event in created} > BOUGHT
    assert len({event["id"] for event in created}) == len(created)
    assert {event["type"] for event in created if event["id"] in double.delivered()} <= set(DEFAULT_EVENT_TYPES)


def test_a_delivery_is_retried_until_it_is_accepted(double: Double, receiver: WebhookReceiver, plans: Plans) -> None:
    receiver.statuses = [500, 301, 404]
    double.deliveries(event_types=["customer.created"])
    customer = plans.customer()
    events = receiver.events(4, SECRET)
    assert {event.data.object["id"] for event in events} == {customer.id}
    assert len({event.id for event in events}) == 1


def test_an_unreachable_receiver_delays_no_request(double: Double, plans: Plans) -> None:
    double.deliveries(url="http://127.0.0.1:9/nobody", event_types=["customer.created"])
    started = time.monotonic()
    plans.customer()
    assert time.monotonic() - started < 1
    [event] = double.events("customer.created")
    assert double.deliver(event["id"]) == 0


def test_manual_deliveries_in_any_order(double: Double, receiver: WebhookReceiver, plans: Plans) -> None:
    double.deliveries(automatic=False)
    plans.subscribed(double)
    receiver.statuses = [409]
    chosen = [event["id"] for event in reversed(double.events()) if event["type"] in BOUGHT]
    assert [double.deliver(each) for each in chosen] == [409, 200, 200]
    assert [event.id for event in receiver.events(3, SECRET)] == chosen
    assert double.delivered()[chosen[0]] == 409


def test_an_old_delivery_again(double: Double, receiver: WebhookReceiver, plans: Plans) -> None:
    double.deliveries(automatic=False)
    plans.customer()
    double.deliver(double.events()[-1]["id"], timestamp=int(time.time()) - 301)
    with pytest.raises(stripe.SignatureVerificationError, match="outside the tolerance zone"):
        receiver.events(1, SECRET)


def test_any_body_is_signed(double: Double) -> None:
    body = json.dumps({"id": "evt_1", "object": "event", "type": "invoice.paid"})
    for header in (double.sign(body), double.call("POST", "/_test/sign", body=body)["header"]):
        assert stripe.Webhook.construct_event(body, header, SECRET).id == "evt_1"
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(body, double.sign(body, secret="whsec_other"), SECRET)


def test_a_reset_cancels_pending_deliveries(double: Double, receiver: WebhookReceiver, plans: Plans) -> None:
    double.deliveries(url="http://127.0.0.1:9/nobody")
    plans.subscribed(double)
    double.reset()
    assert (double.events(), double.delivered(), receiver.got) == ([], {}, [])
