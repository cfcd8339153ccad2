"""POST /billing/webhook: which events are trusted, and that each counts once."""

import itertools
import json
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from djstripe.models import Customer

from accounts.auditlog.trail import Action
from accounts.models import AuditEvent
from billing.models import WebhookEvent
from billing.payments import stripe_client, stripe_connection, webhooks
from lunaos.embedded.servers import until
from testing.client import Api, error
from testing.servers import daphne
from testing.stripe import NO_SUBSCRIPTION, Stripe

# Created by Stripe's package for Node, stripe 23.1.0:
# stripe.webhooks.generateTestHeaderString({payload, secret: "whsec_node_fixture", timestamp: 1764000000})
NODE_HEADER = "t=1764000000,v1=6caff6785d5458f6529df5a18ed129ca1010f7e6b4a8e0ae49576469a768e242"


def event(kind: str = "customer.subscription.updated", **changes: Any) -> str:
    about = {"object": "subscription", "id": "sub_1", "customer": changes.pop("customer", "cus_unknown")}
    body = {
        **{"id": f"evt_{uuid.uuid4().hex}", "object": "event", "type": kind, "livemode": False},
        **{"created": int(time.time()), "data": {"object": about}},
        **changes,
    }
    return json.dumps(body)


def post(stripe: Stripe, body: str, header: str | None = None, **headers: str) -> httpx.Response:
    signature = stripe.double.sign(body) if header is None else header
    sent = [(name.encode(), value.encode()) for name, value in {"Stripe-Signature": signature, **headers}.items()]
    return stripe.api.post("/billing/webhook", content=body, headers=sent)


def kill(url: str) -> None:
    """Kill a server of this process, as a power failure would."""
    port = int(url.rpartition(":")[2])
    (child,) = (child for child in psutil.Process().children() if port in listening_ports(child))
    child.kill()


def listening_ports(process: psutil.Process) -> set[int]:
    return {each.laddr.port for each in process.net_connections("tcp") if each.status == psutil.CONN_LISTEN}


# -- Signatures -----------------------------------------------------------------------------------------------------


def test_it_works(stripe: Stripe, alice: Any) -> None:
    stripe.stop_deliveries()
    stripe.double.pay(stripe.checkout(alice))
    (created,) = stripe.double.events("customer.subscription.created")
    assert stripe.double.deliver(created["id"]) == 200
    assert stripe.tier(alice) == "pro"
    assert WebhookEvent.objects.get(pk=created["id"]).kind == "customer.subscription.created"


@pytest.mark.parametrize(
    "header",
    [
        *("", "nonsense", "t=1,v1=", "v1=abc", "t=abc,v1=abc", f"t=NOW,v1={'0' * 64}"),
        *("t=1,v1=é", f"t={10**30},v1={'0' * 64}"),
    ],
)
def test_a_forged_signature_is_refused(stripe: Stripe, header: str) -> None:
    header = header.replace("NOW", str(int(time.time())))
    assert error(post(stripe, event(), header)) == (400, "webhook_refused")
    assert not WebhookEvent.objects.exists()


def test_another_secret(stripe: Stripe) -> None:
    body = event()
    assert error(post(stripe, body, stripe.double.sign(body, secret="whsec_other"))) == (400, "webhook_refused")


def test_another_body(stripe: Stripe) -> None:
    assert error(post(stripe, event(), stripe.double.sign(event()))) == (400, "webhook_refused")


@pytest.mark.parametrize("seconds", [-400, 400, 10**9])
def test_old_and_future_signatures_are_refused(stripe: Stripe, seconds: int) -> None:
    body = event()
    header = stripe.double.sign(body, timestamp=int(time.time()) + seconds)
    assert error(post(stripe, body, header)) == (400, "webhook_refused")


def test_within_the_tolerance(stripe: Stripe) -> None:
    for seconds in (-200, 200):
        body = event("account.updated")
        assert post(stripe, body, stripe.double.sign(body, timestamp=int(time.time()) + seconds)).status_code == 200


def test_oversized(stripe: Stripe) -> None:
    body = event(padding="x" * webhooks.MAX_BODY_BYTES)
    assert error(post(stripe, body)) == (413, "payload_too_large")


def test_live_events_are_not_for_a_test_platform(stripe: Stripe) -> None:
    assert error(post(stripe, event(livemode=True))) == (400, "webhook_refused")


@pytest.mark.parametrize(
    "body", ["{}", "[]", "null", "no json", '{"object":"event","livemode":false}', "\ufffd", '{"id":1,"object":"list"}']
)
def test_a_signed_body_that_is_no_event_is_refused(stripe: Stripe, body: str) -> None:
    assert error(post(stripe, body)) == (400, "webhook_refused")


def test_bytes_that_are_no_text(stripe: Stripe) -> None:
    response = stripe.api.post("/billing/webhook", content=b"\xff\xfe", headers={"Stripe-Signature": "t=1,v1=a"})
    assert error(response) == (400, "webhook_refused")


def test_an_unhandled_event_type_is_ignored(stripe: Stripe) -> None:
    assert post(stripe, event("charge.updated")).status_code == 200
    assert not WebhookEvent.objects.exists()


def test_it_is_not_throttled_and_takes_no_credentials(stripe: Stripe, alice: Any) -> None:
    bodies = [event("account.updated") for _ in range(70)]
    assert {post(stripe, body).status_code for body in bodies} == {200}
    assert error(post(stripe, event(), "", **stripe.api.as_(alice))) == (400, "webhook_refused")


@pytest.fixture
def rotating(
    django_db_blocker: Any, stripe: Stripe, folder: Path, stripe_environment: dict[str, str]
) -> Iterator[httpx.Client]:
    """Return a server with DEBUG on and two secrets."""
    changes = {**stripe_environment, "STRIPE_WEBHOOK_SECRETS": "whsec_new,whsec_old", "DJANGO_DEBUG": "true"}
    with daphne(folder / "rotating.log", **changes) as url, Api(base_url=url) as client:
        yield client


def test_secrets_rotate_and_debug_opens_nothing(stripe: Stripe, rotating: httpx.Client) -> None:
    for secret, expected in (("whsec_new", 200), ("whsec_old", 200), ("whsec_third", 400)):
        body = event("account.updated")
        headers = {"Stripe-Signature": stripe.double.sign(body, secret=secret), "X-Djstripe-Webhook-Secret": secret}
        assert rotating.post("/billing/webhook", content=body, headers=headers).status_code == expected


def test_a_signature_of_stripes_node_package(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.STRIPE_WEBHOOK_SECRETS = ["whsec_node_fixture"]
    monkeypatch.setattr(time, "time", lambda: 1764000010.0)
    body = (Path(__file__).parent / "node_event.json").read_bytes()
    assert webhooks.parse(body, NODE_HEADER).kind == "customer.subscription.updated"


# -- Each event once, in any order -----------------------------------------------------------------------------------


def test_a_copy_changes_nothing(stripe: Stripe, alice: Any) -> None:
    stripe.subscribe(alice)
    stripe.wait_for_deliveries()
    before = AuditEvent.objects.count()
    for made in stripe.double.events():
        assert stripe.double.deliver(made["id"]) == 200
    assert AuditEvent.objects.count() == before and stripe.tier(alice) == "pro"


def test_fifty_copies_at_once(stripe: Stripe, alice: Any) -> None:
    stripe.stop_deliveries()
    stripe.double.pay(stripe.checkout(alice))
    (created,) = stripe.double.events("customer.subscription.created")
    with ThreadPoolExecutor(50) as pool:
        statuses = list(pool.map(lambda _: stripe.double.deliver(created["id"]), range(50)))
    assert set(statuses) == {200}
    assert stripe.tier(alice) == "pro"
    assert AuditEvent.objects.filter(subject_id=alice.pk, action=Action.TIER_CHANGED).count() == 1
    fetches = stripe.double.requests("/v1/subscriptions")
    assert len([each for each in fetches if each["method"] == "GET"]) == 2  # one of checkout, and one for the event


LIFE = (
    *("customer.subscription.created", "invoice.paid", "customer.subscription.updated", "invoice.payment_failed"),
    "customer.subscription.deleted",
)


def test_any_order_of_events_ends_in_the_same_tier(stripe: Stripe, alice: Any) -> None:
    """The tier is always Stripe's current state, whichever event comes first and whichever last."""
    stripe.stop_deliveries()
    subscription_id = str(stripe.double.pay(stripe.checkout(alice))["subscription"])
    stripe.double.set_price(subscription_id, stripe.price("team"))
    stripe.double.fail_payment(subscription_id)
    stripe_client.cancel_now(subscription_id)
    made = {kind: stripe.double.events(kind)[-1]["id"] for kind in LIFE}
    for first, last in itertools.permutations(LIFE, 2):
        order = [first, *(kind for kind in reversed(LIFE) if kind not in (first, last)), last]
        WebhookEvent.objects.all().delete()
        assert [stripe.double.deliver(made[kind]) for kind in order] == [200] * len(LIFE)
        assert stripe.tier(alice) == "free"


def test_any_old_event_brings_the_current_state(stripe: Stripe, alice: Any) -> None:
    """The payload is not used: an old event brings the current state."""
    stripe.stop_deliveries()
    subscription_id = str(stripe.double.pay(stripe.checkout(alice))["subscription"])
    (created,) = stripe.double.events("customer.subscription.created")
    stripe.double.set_price(subscription_id, stripe.price("team"))
    stripe.double.deliver(created["id"])
    assert stripe.tier(alice) == "team"


def test_a_slow_fetch_of_the_old_state_does_not_win(stripe: Stripe, alice: Any) -> None:
    subscription_id = stripe.subscribe(alice)
    stripe.stop_deliveries()
    stripe.double.set_status(subscription_id, "past_due")
    (behind,) = stripe.double.events("customer.subscription.updated")[-1:]
    with ThreadPoolExecutor(2) as pool:
        with stripe.double.hold("/v1/subscriptions", method="GET", after_read=True) as held:
            slow = pool.submit(stripe.double.deliver, behind["id"])
            held.wait()  # the old state is read, and its answer is held
            stripe_client.cancel_now(subscription_id)
            (ended,) = stripe.double.events("customer.subscription.deleted")[-1:]
            quick = pool.submit(stripe.double.deliver, ended["id"])
        assert (slow.result(), quick.result()) == (200, 200)
    assert stripe.tier(alice) == "free"
    assert stripe.subscription_state(alice) == NO_SUBSCRIPTION


def test_stripe_down_while_handling(stripe: Stripe, alice: Any) -> None:
    stripe.stop_deliveries()
    stripe.double.pay(stripe.checkout(alice))
    (created,) = stripe.double.events("customer.subscription.created")
    stripe.double.fault("/v1/subscriptions", status=500, times=2)  # the request and its one retry
    assert stripe.double.deliver(created["id"]) == 503
    assert not WebhookEvent.objects.exists() and stripe.tier(alice) == "free"

    assert stripe.double.deliver(created["id"]) == 200
    assert stripe.tier(alice) == "pro"


def test_a_process_that_dies_while_handling(
    stripe: Stripe, alice: Any, folder: Path, stripe_environment: dict[str, str]
) -> None:
    stripe.stop_deliveries()
    stripe.double.pay(stripe.checkout(alice))
    (created,) = stripe.double.events("customer.subscription.created")
    with ThreadPoolExecutor(1) as pool:
        with stripe.double.hold("/v1/subscriptions", method="GET") as held:
            with daphne(folder / "dying.log", **stripe_environment) as url:
                lost = pool.submit(stripe.double.deliver, created["id"], url=f"{url}/billing/webhook")
                held.wait()
                kill(url)
        assert lost.result() == 0
    assert stripe.double.deliver(created["id"]) == 200
    assert stripe.reaches_tier(alice, "pro")
    assert AuditEvent.objects.filter(subject_id=alice.pk, action=Action.TIER_CHANGED).count() == 1


def test_a_customer_without_a_user(stripe: Stripe) -> None:
    assert post(stripe, event(customer="cus_of_another_shop")).status_code == 200
    assert WebhookEvent.objects.get().customer_id == "cus_of_another_shop"


def test_a_customer_whose_row_was_lost(stripe: Stripe, alice: Any) -> None:
    """The answer to the customer's creation was lost; Stripe's metadata name the user."""
    stripe.stop_deliveries()
    stripe.double.pay(stripe.checkout(alice))
    Customer.objects.all().delete()
    (created,) = stripe.double.events("customer.subscription.created")
    assert stripe.double.deliver(created["id"]) == 200
    assert stripe.tier(alice) == "pro" and Customer.objects.get().subscriber == alice


def test_an_unknown_customer_that_was_deleted(stripe: Stripe, alice: Any) -> None:
    stripe.checkout(alice)
    gone = Customer.objects.get().id
    Customer.objects.all().delete()
    stripe_connection.client().v1.customers.delete(gone)
    assert post(stripe, event(customer=gone)).status_code == 200


def test_reading_goes_on_while_stripe_hangs(stripe: Stripe, alice: Any) -> None:
    subscription_id = stripe.subscribe(alice)
    with ThreadPoolExecutor(12) as pool:
        with stripe.double.hold("/v1/subscriptions", method="GET", times=20) as held:
            stripe.double.set_status(subscription_id, "past_due")
            waiting = [pool.submit(post, stripe, event(customer=f"cus_{n}")) for n in range(12)]
            held.wait()
            for path in ("plans", "usage", "subscription"):
                response = stripe.api.get(f"/billing/{path}", headers=stripe.api.as_(alice), timeout=5)
                assert response.status_code == 200
        assert until(lambda: all(each.done() for each in waiting), 30)
