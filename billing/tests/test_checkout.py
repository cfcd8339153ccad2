"""POST /billing/checkout."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from django.db import connection, transaction
from djstripe.models import Customer

from accounts.auditlog.trail import Action
from accounts.models import AuditEvent
from billing.errors import BillingConflict
from billing.payments import customer_locks, plans, stripe_client, stripe_connection
from lunaos.embedded.servers import until
from testing.client import error
from testing.stripe import Stripe


def test_it_works(stripe: Stripe, alice: Any) -> None:
    response = stripe.post(alice, "checkout", tier="pro")
    data = response.json()["data"]
    assert set(data) == {"checkoutUrl", "sessionId"} and data["checkoutUrl"].startswith(stripe.double.url)
    assert stripe.tier(alice) == "free"  # a page at Stripe grants nothing

    stripe.double.pay(data["sessionId"])
    assert stripe.reaches_tier(alice, "pro")
    state = stripe.subscription_state(alice)
    assert (state["tier"], state["status"]) == ("pro", "active")
    assert set(state["subscription"]) == {
        *("id", "currentPeriodStart", "currentPeriodEnd", "cancelAtPeriodEnd", "createdAt")
    }
    assert state["subscription"]["cancelAtPeriodEnd"] is False
    assert state["subscription"]["currentPeriodEnd"] > state["subscription"]["currentPeriodStart"]
    assert state["subscription"]["createdAt"].endswith("Z")
    assert AuditEvent.objects.filter(subject_id=alice.pk, action=Action.CHECKOUT_STARTED).count() == 1


def test_the_request_to_stripe(stripe: Stripe, alice: Any) -> None:
    stripe.checkout(alice, "team")
    parameters = stripe.double.requests("/v1/checkout/sessions")[-1]["params"]
    assert parameters["mode"] == "subscription" and parameters["allow_promotion_codes"] in (True, "true")
    assert parameters["client_reference_id"] == str(alice.pk)
    assert parameters["success_url"].endswith("/checkout/done?session_id={CHECKOUT_SESSION_ID}")
    assert parameters["cancel_url"].endswith("/checkout/cancelled")
    assert Customer.objects.get(subscriber=alice).id == parameters["customer"]


def test_a_customer_is_created_once(stripe: Stripe, alice: Any) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: stripe.post(alice, "checkout", tier="pro"), range(8)))
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert [answer for answer in answers if answer.status_code == 200]
    assert len({answer.json()["data"]["sessionId"] for answer in answers if answer.status_code == 200}) == 1
    assert Customer.objects.filter(subscriber=alice).count() == 1


def test_only_one_page_can_be_paid_on(stripe: Stripe, alice: Any) -> None:
    first, again, other = (stripe.checkout(alice, tier) for tier in ("pro", "pro", "team"))
    assert first == again != other
    with pytest.raises(Exception, match="400"):
        stripe.double.pay(first)
    stripe.double.pay(other)
    assert stripe.reaches_tier(alice, "team")


def test_a_subscriber_is_referred_to_change(stripe: Stripe, alice: Any) -> None:
    stripe.subscribe(alice)
    assert error(stripe.post(alice, "checkout", tier="team")) == (400, "already_subscribed")


def test_a_subscription_counts_before_its_event_arrives(stripe: Stripe, alice: Any) -> None:
    stripe.stop_deliveries()
    stripe.double.pay(stripe.checkout(alice))
    assert error(stripe.post(alice, "checkout", tier="pro")) == (400, "already_subscribed")
    assert stripe.tier(alice) == "pro"  # the subscription found on the way is stored


def test_a_user_can_subscribe_again_after_the_end(stripe: Stripe, alice: Any) -> None:
    stripe.double.set_status(stripe.subscribe(alice), "canceled")
    assert stripe.reaches_tier(alice, "free")
    stripe.subscribe(alice, "team")


@pytest.mark.parametrize("tier", ["free", "gold", "", None, 7])
def test_a_tier_that_is_not_on_sale(stripe: Stripe, alice: Any, tier: Any) -> None:
    response = stripe.post(alice, "checkout", tier=tier)
    assert error(response) == (400, "validation_error")
    assert response.json()["fields"][0]["field"] == "tier"


def test_an_idempotency_key_has_one_result(stripe: Stripe, alice: Any) -> None:
    def start(tier: str) -> Any:
        headers = {**stripe.api.as_(alice), "Idempotency-Key": "a-key"}
        return stripe.api.post("/billing/checkout", json={"tier": tier}, headers=headers)

    first, again = start("pro"), start("pro")
    assert first.status_code == 200 and first.json() == again.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    assert error(start("team")) == (409, "idempotency_conflict")


def test_no_price_at_stripe(stripe: Stripe, alice: Any) -> None:
    stripe.double.reset()
    assert error(stripe.post(alice, "checkout", tier="pro")) == (503, "billing_not_configured")


def test_a_customer_deleted_at_stripe_is_replaced(stripe: Stripe, alice: Any) -> None:
    stripe.checkout(alice)
    gone = Customer.objects.get(subscriber=alice).id
    stripe_connection.client().v1.customers.delete(gone)
    stripe.subscribe(alice)
    assert Customer.objects.get(subscriber=alice).id != gone


def test_two_at_once_replace_a_customer_once(stripe: Stripe, alice: Any) -> None:
    """The second request waits for the first, and then uses its customer."""
    stripe.checkout(alice)
    gone = Customer.objects.get(subscriber=alice).id
    stripe_connection.client().v1.customers.delete(gone)
    with ThreadPoolExecutor(2) as pool:
        with stripe.double.hold("/v1/checkout/sessions", method="GET") as held:
            first = pool.submit(stripe.post, alice, "checkout", tier="pro")
            held.wait()
            second = pool.submit(stripe.post, alice, "checkout", tier="team")
            assert until(waiting_for_a_lock, 5)
        assert first.result().status_code == second.result().status_code == 200
    (customer,) = Customer.objects.filter(subscriber=alice)
    assert len(stripe_client.list_open_checkouts(customer.id)) == 1


def test_a_lock_time_out_is_a_conflict_with_the_users_other_request(
    database: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(customer_locks, "SHORT_WAIT_S", 0.05)

    def raises_conflict(take: Callable[[str], AbstractContextManager[None]]) -> bool:
        """Run in a thread, which has its own connection."""
        try:
            with pytest.raises(BillingConflict, match="under way"), take("cus_1"):
                pass
            return True
        finally:
            connection.close()

    with customer_locks.locked("cus_1"), ThreadPoolExecutor(1) as pool:
        assert pool.submit(raises_conflict, customer_locks.locked).result()
        assert pool.submit(raises_conflict, in_a_transaction).result()


@contextmanager
def in_a_transaction(subject: str) -> Iterator[None]:
    with transaction.atomic():
        customer_locks.lock_until_commit(subject, short_wait=True)
        yield


def waiting_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_locks JOIN pg_database ON oid = database "
            "WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted)"
        )
        return bool(cursor.fetchone()[0])


def test_a_new_customer_is_locked_until_its_page_exists(stripe: Stripe, alice: Any) -> None:
    stripe.checkout(alice)
    gone = Customer.objects.get(subscriber=alice).id
    stripe_connection.client().v1.customers.delete(gone)
    with ThreadPoolExecutor(2) as pool:
        with stripe.double.hold("/v1/checkout/sessions", method="POST", after_read=True) as refused:
            first = pool.submit(stripe.post, alice, "checkout", tier="pro")
            refused.wait()
            with stripe.double.hold("/v1/checkout/sessions", method="POST") as made:
                refused.release()
                made.wait()
                second = pool.submit(stripe.post, alice, "checkout", tier="team")
                assert until(waiting_for_a_lock, 5)
        assert first.result().status_code == second.result().status_code == 200
    (customer,) = Customer.objects.filter(subscriber=alice)
    assert len(stripe_client.list_open_checkouts(customer.id)) == 1


def test_a_customer_of_another_account_is_replaced(stripe: Stripe, alice: Any) -> None:
    stripe.checkout(alice)
    stripe.double.reset()  # another account does not know these customers
    plans.sync_plans()
    stripe.subscribe(alice)


def test_api_keys_are_refused(stripe: Stripe, alice: Any) -> None:
    response = stripe.api.post("/billing/checkout", json={"tier": "pro"}, headers=stripe.api.with_key(alice))
    assert error(response) == (403, "scope_missing")


def test_the_return_page_synchronises_at_once(stripe: Stripe, alice: Any) -> None:
    stripe.stop_deliveries()
    session_id = stripe.checkout(alice)
    assert stripe.api.get("/checkout/done", params={"session_id": session_id}).status_code == 200
    assert stripe.tier(alice) == "free"  # a visit to the page is no payment

    stripe.double.pay(session_id)
    page = stripe.api.get("/checkout/done", params={"session_id": session_id})
    assert "Thank you" in page.text and stripe.tier(alice) == "pro"


@pytest.mark.parametrize("session_id", ["", "cs_test_unknown", "../v1/customers", "cs_test_" + "x" * 500])
def test_the_return_page_accepts_any_session_id(stripe: Stripe, session_id: str) -> None:
    assert stripe.api.get("/checkout/done", params={"session_id": session_id}).status_code == 200
    assert "Nothing was charged" in stripe.api.get("/checkout/cancelled").text


def test_the_return_page_works_while_stripe_is_down(stripe: Stripe, alice: Any) -> None:
    session_id = stripe.checkout(alice)
    stripe.double.fault("/v1/checkout", status=500, times=9)
    assert stripe.api.get("/checkout/done", params={"session_id": session_id}).status_code == 200
