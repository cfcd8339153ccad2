"""Cancel, resume, change, the portal, and `GET /billing/subscription`."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.core import signing
from django.db import connection

from accounts.auditlog.trail import Action
from accounts.models import AuditEvent, User
from billing.payments import portal_links, stripe_client, stripe_connection
from lunaos.embedded.servers import until
from testing.client import error
from testing.stripe import NO_SUBSCRIPTION, Stripe

ACTIONS = ("cancel", "resume", "portal")


def events(user: Any, action: Action) -> int:
    return AuditEvent.objects.filter(subject_id=user.pk, action=action).count()


def renews(stripe: Stripe, user: Any) -> bool:
    return not stripe.subscription_state(user)["subscription"]["cancelAtPeriodEnd"]


def test_it_works(stripe: Stripe, alice: Any) -> None:
    """From checkout to the end of the subscription."""
    subscription_id = stripe.subscribe(alice)
    response = stripe.post(alice, "cancel")
    end = stripe.subscription_state(alice)["subscription"]["currentPeriodEnd"]
    assert end[:10] in response.json()["data"]["message"]
    assert not renews(stripe, alice) and stripe.tier(alice) == "pro"  # the paid period stays

    stripe.double.end_period(subscription_id)
    assert stripe.reaches_tier(alice, "free")
    assert stripe.subscription_state(alice) == NO_SUBSCRIPTION
    assert events(alice, Action.SUBSCRIPTION_CANCEL_REQUESTED) == 1


def test_a_new_user_has_no_subscription(stripe: Stripe, alice: Any) -> None:
    assert stripe.subscription_state(alice) == NO_SUBSCRIPTION
    for action in ACTIONS:
        assert error(stripe.post(alice, action)) == (404, "no_subscription")
    assert error(stripe.post(alice, "change", tier="team")) == (404, "no_subscription")


def test_a_customer_that_never_paid_has_no_subscription(stripe: Stripe, alice: Any) -> None:
    stripe.checkout(alice)
    for action in ("cancel", "resume"):
        assert error(stripe.post(alice, action)) == (404, "no_subscription")
    assert error(stripe.post(alice, "change", tier="team")) == (404, "no_subscription")
    assert stripe.post(alice, "portal").status_code == 200


def test_an_api_key_can_only_read(stripe: Stripe, alice: Any) -> None:
    headers = stripe.api.with_key(alice)
    assert stripe.api.get("/billing/subscription", headers=headers).status_code == 200
    for action in ACTIONS:
        assert error(stripe.api.post(f"/billing/{action}", headers=headers)) == (403, "scope_missing")


def test_cancel_twice(stripe: Stripe, alice: Any) -> None:
    stripe.subscribe(alice)
    assert [stripe.post(alice, "cancel").status_code for _ in range(2)] == [200, 200]
    assert not renews(stripe, alice)


def test_resume(stripe: Stripe, alice: Any) -> None:
    subscription_id = stripe.subscribe(alice)
    stripe.post(alice, "cancel")
    assert stripe.post(alice, "resume").status_code == 200
    assert renews(stripe, alice)
    stripe.double.end_period(subscription_id)
    stripe.wait_for_deliveries()
    assert stripe.tier(alice) == "pro" and stripe.subscription_state(alice)["status"] == "active"
    assert events(alice, Action.SUBSCRIPTION_RESUMED) == 1


def test_resume_a_cancellation_made_in_the_portal(stripe: Stripe, alice: Any) -> None:
    """The portal sets a time and not the flag."""
    subscription_id = stripe.subscribe(alice)
    (subscription,) = stripe_client.list_subscriptions(customer_id(stripe))
    end = subscription["items"].data[0].current_period_end
    stripe_connection.client().v1.subscriptions.update(subscription_id, {"cancel_at": end})
    assert until(lambda: not renews(stripe, alice), 10)
    stripe.post(alice, "resume")
    assert renews(stripe, alice)


def test_resume_changes_nothing_without_a_cancellation(stripe: Stripe, alice: Any) -> None:
    stripe.subscribe(alice)
    assert stripe.post(alice, "resume").status_code == 200
    assert events(alice, Action.SUBSCRIPTION_RESUMED) == 0


def test_an_ended_subscription_cannot_be_resumed(stripe: Stripe, alice: Any) -> None:
    stripe_client.cancel_now(stripe.subscribe(alice))
    assert stripe.reaches_tier(alice, "free")
    assert error(stripe.post(alice, "resume")) == (404, "no_subscription")


def test_an_upgrade_counts_at_once(stripe: Stripe, alice: Any) -> None:
    subscription_id = stripe.subscribe(alice)
    changed = stripe.post(alice, "change", tier="team").json()["data"]
    assert changed == {"message": "Your subscription is team.", "tier": "team", "effectiveAt": None}
    assert stripe.tier(alice) == "team"
    sent = stripe.double.requests(f"/v1/subscriptions/{subscription_id}")[-1]["params"]
    assert (sent["proration_behavior"], sent["payment_behavior"]) == (
        "always_invoice",
        "pending_if_incomplete",
    )


@pytest.mark.parametrize("status", ["unpaid", "paused"])
def test_a_change_counts_nothing_while_a_payment_is_due(stripe: Stripe, alice: Any, status: str) -> None:
    stripe.double.set_status(stripe.subscribe(alice), status)
    assert stripe.reaches_tier(alice, "free")
    for tier in ("team", "pro"):
        message = stripe.post(alice, "change", tier=tier).json()["data"]["message"]
        assert "a payment is due" in message and "/billing/portal" in message
    assert stripe.tier(alice) == "free"


@pytest.mark.parametrize("canceled", [False, True])
def test_an_upgrade_that_is_not_paid_changes_nothing(stripe: Stripe, alice: Any, canceled: bool) -> None:
    stripe.subscribe(alice)
    if canceled:
        stripe.post(alice, "cancel")
    stripe.double.set_card(customer_id(stripe), declined=True)
    changed = stripe.post(alice, "change", tier="team").json()["data"]
    assert changed["message"] == "Your subscription changes to team as soon as the difference is paid."
    stripe.wait_for_deliveries()
    assert stripe.tier(alice) == "pro" and renews(stripe, alice) is not canceled


def test_an_upgrade_that_fails_leaves_a_cancellation_alone(stripe: Stripe, alice: Any) -> None:
    subscription_id = stripe.subscribe(alice)
    stripe.post(alice, "cancel")
    stripe.wait_for_deliveries()
    stripe.double.fault(f"/v1/subscriptions/{subscription_id}", method="POST", status=500, times=2)
    assert error(stripe.post(alice, "change", tier="team")) == (503, "billing_unavailable")
    assert not renews(stripe, alice) and stripe.tier(alice) == "pro"


@pytest.mark.parametrize(
    "fault",
    [
        {"path": "/v1/subscription_schedules"},  # the schedule is not created
        {"path": "/v1/subscription_schedules", "after_read": True},  # the schedule is created, and the answer is lost
        {"path": "/v1/subscription_schedules/"},  # the schedule is created and has no phases
    ],
)
def test_a_downgrade_that_fails_leaves_a_cancellation_alone(stripe: Stripe, alice: Any, fault: dict[str, Any]) -> None:
    subscription_id = stripe.subscribe(alice, "team")
    stripe.post(alice, "cancel")
    stripe.wait_for_deliveries()
    stripe.double.fault(**fault, method="POST", status=500, times=2)
    assert error(stripe.post(alice, "change", tier="pro")) == (503, "billing_unavailable")
    subscription = stripe_client.retrieve_subscription(subscription_id)
    assert (subscription.cancel_at_period_end, subscription.schedule) == (True, None)
    stripe.wait_for_deliveries()
    assert not renews(stripe, alice)


def test_a_downgrade_retries_one_failed_request(stripe: Stripe, alice: Any) -> None:
    stripe.subscribe(alice, "team")
    stripe.post(alice, "cancel")
    stripe.double.fault("/v1/subscription_schedules/", method="POST", delay_s=1.5)  # longer than the short time-out
    assert stripe.post(alice, "change", tier="pro").status_code == 200
    assert renews(stripe, alice)


def test_a_failed_downgrade_keeps_a_cancellation_in_a_year(stripe: Stripe, alice: Any) -> None:
    subscription_id = stripe.subscribe(alice, "team")
    far = int(time.time()) + 300 * 86_400
    stripe_connection.client().v1.subscriptions.update(subscription_id, {"cancel_at": far})
    stripe.double.fault("/v1/subscription_schedules/", method="POST", status=500, times=2)
    assert error(stripe.post(alice, "change", tier="pro")) == (503, "billing_unavailable")
    assert stripe_client.retrieve_subscription(subscription_id).cancel_at == far


def test_a_failed_rollback_of_a_downgrade_alerts_operators(stripe: Stripe, alice: Any, folder: Path) -> None:
    """The user sees the first error, the operators are alerted to the second."""
    subscription_id = stripe.subscribe(alice, "team")
    stripe.post(alice, "cancel")
    stripe.double.fault("/v1/subscription_schedules/", method="POST", status=500, times=2)
    stripe.double.fault("/v1/subscription_schedules/", method="POST", status=400, times=1)
    assert error(stripe.post(alice, "change", tier="pro")) == (503, "billing_unavailable")
    lines = (folder / "web.log").read_text().splitlines()
    alarm = next(line for line in lines if "change_left_half" in line and subscription_id in line)
    assert '"was_to_end": true' in alarm


def test_a_scheduled_downgrade_survives_a_failed_change(stripe: Stripe, alice: Any) -> None:
    subscription_id = stripe.subscribe(alice, "team")
    stripe.post(alice, "change", tier="pro")
    stripe.double.fault("/v1/subscription_schedules", method="POST", status=500, times=2)
    assert error(stripe.post(alice, "change", tier="pro")) == (503, "billing_unavailable")
    stripe.double.end_period(subscription_id)
    assert stripe.reaches_tier(alice, "pro")


def test_the_same_downgrade_again(stripe: Stripe, alice: Any) -> None:
    subscription_id = stripe.subscribe(alice, "team")
    answers = [stripe.post(alice, "change", tier="pro").json()["data"] for _ in range(2)]
    assert answers[0] == answers[1]
    made = [each for each in stripe.double.requests("/v1/subscription_schedules") if each["method"] == "POST"]
    assert len({each["path"] for each in made}) == 2 and len(made) == 3  # created once, and its phases sent twice
    stripe.double.end_period(subscription_id)
    assert stripe.reaches_tier(alice, "pro")


def test_a_change_succeeds_although_stripe_is_down_afterwards(stripe: Stripe, alice: Any) -> None:
    """The change is paid: the answer says so, and the event brings the tier."""
    subscription_id = stripe.subscribe(alice)
    stripe.wait_for_deliveries()
    path = f"/v1/subscriptions/{subscription_id}"
    with stripe.double.hold(path, method="POST", after_read=True) as held:
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(stripe.post, alice, "change", tier="team")
            held.wait()
            stripe.double.fault("/v1/subscriptions", method="GET", status=500, times=1)
            held.release()
            assert answer.result().status_code == 200
    assert stripe.reaches_tier(alice, "team")


def test_a_change_whose_lock_is_lost(stripe: Stripe, alice: Any) -> None:
    """Nothing is stored beside the lock's next holder; the event brings the change."""
    subscription_id = stripe.subscribe(alice)
    stripe.wait_for_deliveries()
    changes = events(alice, Action.SUBSCRIPTION_CHANGED)
    with ThreadPoolExecutor(1) as pool:
        stripe.stop_deliveries()
        with stripe.double.hold(f"/v1/subscriptions/{subscription_id}", method="POST") as held:
            answer = pool.submit(stripe.post, alice, "change", tier="team")
            held.wait()
            terminate_lock_holder(customer_id(stripe))
        assert error(answer.result()) == (503, "service_unavailable")
    assert stripe.tier(alice) == "pro" and events(alice, Action.SUBSCRIPTION_CHANGED) == changes
    stripe.double.deliver(stripe.double.events("customer.subscription.updated")[-1]["id"])
    assert stripe.tier(alice) == "team"


def terminate_lock_holder(of: str) -> None:
    """End the connection that holds a customer's lock, as a restart of PostgreSQL does."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory' AND granted "
            "AND classid::bigint << 32 | objid::bigint = hashtextextended(%s, 0)",
            [f"billing {of}"],
        )
        assert cursor.fetchall() == [(True,)]


def test_cancel_replaces_a_cancellation_in_a_year(stripe: Stripe, alice: Any) -> None:
    """Staff can set a distant end in the dashboard; a user cancels at the period's end."""
    subscription_id = stripe.subscribe(alice)
    far = int(time.time()) + 300 * 86_400
    stripe_connection.client().v1.subscriptions.update(subscription_id, {"cancel_at": far})
    stripe.wait_for_deliveries()
    assert stripe.post(alice, "cancel").status_code == 200
    stripe.double.end_period(subscription_id)
    assert stripe.reaches_tier(alice, "free")


def test_a_downgrade_counts_when_the_period_ends(stripe: Stripe, alice: Any) -> None:
    subscription_id = stripe.subscribe(alice, "team")
    end = stripe.subscription_state(alice)["subscription"]["currentPeriodEnd"]
    assert stripe.post(alice, "change", tier="pro").json()["data"]["effectiveAt"] == end
    stripe.wait_for_deliveries()
    assert stripe.tier(alice) == "team"

    stripe.double.end_period(subscription_id)
    assert stripe.reaches_tier(alice, "pro")


def test_canceling_a_scheduled_downgrade_retries_one_failed_request(stripe: Stripe, alice: Any) -> None:
    subscription_id = stripe.subscribe(alice, "team")
    stripe.post(alice, "change", tier="pro")
    stripe.double.fault(f"/v1/subscriptions/{subscription_id}", status=500, method="POST")
    assert stripe.post(alice, "cancel").status_code == 200
    assert not renews(stripe, alice)


def test_an_upgrade_after_a_completed_downgrade(stripe: Stripe, alice: Any) -> None:
    """Stripe keeps the schedule for the first period of the lower price."""
    subscription_id = stripe.subscribe(alice, "team")
    stripe.post(alice, "change", tier="pro")
    stripe.wait_for_deliveries()
    stripe.double.end_period(subscription_id)
    assert stripe.reaches_tier(alice, "pro")

    assert error(stripe.post(alice, "change", tier="pro")) == (400, "already_subscribed")
    assert stripe.post(alice, "change", tier="team").status_code == 200
    assert stripe.reaches_tier(alice, "team")


def test_a_scheduled_downgrade_can_be_undone(stripe: Stripe, alice: Any) -> None:
    subscription_id = stripe.subscribe(alice, "team")
    stripe.post(alice, "change", tier="pro")
    assert stripe.post(alice, "change", tier="team").status_code == 200
    stripe.double.end_period(subscription_id)
    stripe.wait_for_deliveries()
    assert stripe.tier(alice) == "team"


def test_a_subscription_with_a_scheduled_downgrade_can_be_canceled(stripe: Stripe, alice: Any) -> None:
    subscription_id = stripe.subscribe(alice, "team")
    stripe.post(alice, "change", tier="pro")
    assert stripe.post(alice, "cancel").status_code == 200
    stripe.double.end_period(subscription_id)
    assert stripe.reaches_tier(alice, "free")


def test_a_change_undoes_a_cancellation(stripe: Stripe, alice: Any) -> None:
    stripe.subscribe(alice)
    stripe.post(alice, "cancel")
    stripe.post(alice, "change", tier="team")
    assert renews(stripe, alice) and stripe.tier(alice) == "team"


def test_the_same_tier_again(stripe: Stripe, alice: Any) -> None:
    stripe.subscribe(alice)
    response = stripe.post(alice, "change", tier="pro")
    assert error(response) == (400, "already_subscribed")
    assert response.json()["error"].startswith("Your subscription is pro already")  # not: change it by this request


@pytest.mark.parametrize("tier", ["free", "gold", None])
def test_a_tier_that_is_not_on_sale(stripe: Stripe, alice: Any, tier: Any) -> None:
    stripe.subscribe(alice)
    assert error(stripe.post(alice, "change", tier=tier)) == (400, "validation_error")


def test_the_portal(stripe: Stripe, alice: Any) -> None:
    stripe.subscribe(alice)
    url = stripe.post(alice, "portal").json()["data"]["portalUrl"]
    assert url.startswith(f"{stripe.double.url}/portal/")
    assert stripe.double.requests("/v1/billing_portal")[-1]["params"]["customer"] == customer_id(stripe)


def test_an_e_mails_link_opens_the_portal(stripe: Stripe, alice: Any, bob: Any) -> None:
    stripe.subscribe(alice)
    token = old_link(alice)
    opened = stripe.api.get("/portal", params={"token": token})
    assert opened.status_code == 302 and "/portal/" in opened.headers["Location"]
    stranger = old_link(bob)
    assert error(stripe.api.get("/portal", params={"token": stranger})) == (404, "no_subscription")


@pytest.mark.parametrize("token", ["x", "abc:def:ghi"])
def test_a_forged_link(stripe: Stripe, token: str) -> None:
    assert error(stripe.api.get("/portal", params={"token": token})) == (400, "mail_token_invalid")


def test_an_old_link(stripe: Stripe, alice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stripe.subscribe(alice)
    monkeypatch.setattr("django.core.signing.time.time", lambda: 1.0)
    token = old_link(alice)
    assert error(stripe.api.get("/portal", params={"token": token})) == (400, "mail_token_invalid")


def test_a_link_for_another_address(stripe: Stripe, alice: Any) -> None:
    stripe.subscribe(alice)
    token = old_link(alice)
    User.objects.filter(pk=alice.pk).update(email="moved@example.com")
    assert error(stripe.api.get("/portal", params={"token": token})) == (400, "mail_token_invalid")


def test_another_users_subscription_stays_untouched(stripe: Stripe, alice: Any, charlie: Any) -> None:
    stripe.subscribe(alice)
    stripe.subscribe(charlie, "team")
    stripe.post(charlie, "cancel")
    assert renews(stripe, alice) and not renews(stripe, charlie)


def old_link(user: Any) -> str:
    """Return the token of a link as mails of releases before 2026-12 hold it."""
    return signing.dumps([str(user.pk), user.email], salt=portal_links.SALT)


def customer_id(stripe: Stripe) -> str:
    """Return the id of the only customer."""
    (event,) = stripe.double.events("customer.created")
    return str(event["data"]["object"]["id"])
