"""Disputes: an open one blocks checkouts, a lost one ends the paid tier, and staff may restore it."""

from itertools import permutations
from typing import Any

import pytest
from djstripe.models import Customer, Dispute, Invoice

from accounts.auditlog.trail import Action
from accounts.models import AuditEvent
from accounts.privacy import deletion, registry
from accounts.signin import jwt
from billing import grants
from billing.errors import CheckoutBlocked
from billing.models import DisputeWaiver, WebhookEvent
from billing.payments import checkout, disputes, reconciliation, stripe_client, subscription_state, subscriptions
from testing.stripe import LocalStripe, alarms

__all__ = ["alarms"]

OPEN_STATUSES = ("warning_needs_response", "warning_under_review", "needs_response", "under_review")


def tier(user: Any) -> str:
    user.refresh_from_db(fields=["tier"])
    return str(user.tier)


def blocked(user: Any) -> bool:
    return subscription_state.get_state(user).checkout_blocked


def lose(local_stripe: LocalStripe, charge: dict[str, Any]) -> str:
    """Have a dispute opened and lost, and return its id."""
    dispute_id = str(local_stripe.double.dispute(charge["id"])["id"])
    local_stripe.double.set_dispute(dispute_id, "lost")
    local_stripe.deliver()
    return dispute_id


def test_it_works(local_stripe: LocalStripe, alice: Any, alarms: list[str]) -> None:
    charge = local_stripe.subscribe(alice)
    opened = local_stripe.double.dispute(charge["id"])
    local_stripe.deliver()
    assert (tier(alice), blocked(alice), alarms) == ("pro", True, ["dispute_opened"])
    with pytest.raises(CheckoutBlocked, match="Contact support"):
        checkout.start(user=alice, tier="pro")

    local_stripe.double.set_dispute(opened["id"], "lost")
    local_stripe.deliver()
    assert (tier(alice), blocked(alice)) == ("free", True)
    assert alarms == ["dispute_opened", "dispute_lost"]
    assert Invoice.objects.get().stripe_data["amount_lost"] == 2900
    audited = AuditEvent.objects.filter(subject_id=alice.pk).values_list("action", flat=True)
    assert {Action.DISPUTE_OPENED, Action.DISPUTE_CLOSED, Action.TIER_CHANGED} <= set(audited)


def test_the_api_says_so(local_stripe: LocalStripe, alice: Any) -> None:
    local_stripe.double.dispute(local_stripe.subscribe(alice)["id"])
    local_stripe.deliver()
    headers = {"Authorization": f"Bearer {jwt.issue(alice)}"}
    state = local_stripe.client.get("/billing/subscription", headers=headers).json()["data"]
    assert (state["tier"], state["status"], state["checkoutBlocked"]) == ("pro", "active", True)
    for path in ("checkout", "change"):
        answer = local_stripe.client.post(
            f"/billing/{path}", {"tier": "team"}, content_type="application/json", headers=headers
        )
        assert (answer.status_code, answer.json()["code"]) == (403, "checkout_blocked"), path


@pytest.mark.parametrize("status", ["won", "warning_closed", "prevented"])
def test_a_dispute_that_is_settled_blocks_nothing(
    local_stripe: LocalStripe, alice: Any, alarms: list[str], status: str
) -> None:
    charge = local_stripe.subscribe(alice)
    opened = local_stripe.double.dispute(charge["id"], inquiry=status == "warning_closed")
    local_stripe.deliver()
    assert blocked(alice)
    local_stripe.double.set_dispute(opened["id"], status)
    local_stripe.deliver()
    assert (tier(alice), blocked(alice), alarms) == ("pro", False, ["dispute_opened"])


@pytest.mark.parametrize("status", OPEN_STATUSES)
def test_every_open_status_blocks(local_stripe: LocalStripe, alice: Any, alarms: list[str], status: str) -> None:
    opened = local_stripe.double.dispute(local_stripe.subscribe(alice)["id"])
    local_stripe.double.set_dispute(opened["id"], status)
    local_stripe.deliver()
    assert (tier(alice), blocked(alice), alarms) == ("pro", True, ["dispute_opened"])


def test_an_unknown_status_counts_as_open() -> None:
    assert disputes.phase_of("invented_by_stripe") == disputes.Phase.OPEN


def test_an_open_page_is_expired(local_stripe: LocalStripe, alice: Any) -> None:
    charge = local_stripe.subscribe(alice)
    customer = Customer.objects.get(subscriber=alice).id
    page = stripe_client.create_checkout(customer, str(_price()), user_id=alice.pk, tier="team")
    local_stripe.double.dispute(charge["id"])
    local_stripe.deliver()
    assert stripe_client.retrieve_checkout(page.id).status == "expired"


def _price() -> str:
    return stripe_client.list_prices(["lunaos_team_monthly"])[0].id


def test_a_downgrade_is_still_possible(local_stripe: LocalStripe, alice: Any) -> None:
    local_stripe.double.dispute(local_stripe.subscribe(alice, "team")["id"])
    local_stripe.deliver()
    assert subscriptions.change(user=alice, tier="pro").effective_at
    assert subscriptions.cancel(alice).ends_at


@pytest.mark.parametrize("order", [*permutations(("created", "updated", "closed"))])
def test_any_order_and_copies(local_stripe: LocalStripe, alice: Any, alarms: list[str], order: tuple[str, ...]) -> None:
    charge = local_stripe.subscribe(alice)
    opened = local_stripe.double.dispute(charge["id"])
    local_stripe.double.set_dispute(opened["id"], "lost")
    events = {event["type"].rpartition(".")[2]: event for event in local_stripe.new_events()}
    for kind in (*order, *order):
        assert local_stripe.send(events[kind]) == 200
    assert (tier(alice), alarms) == ("free", ["dispute_lost"])
    assert WebhookEvent.objects.filter(kind__startswith="charge.dispute").count() == 3


def test_no_recalculation_gives_the_tier_back(local_stripe: LocalStripe, alice: Any) -> None:
    lose(local_stripe, local_stripe.subscribe(alice))
    [subscription] = subscription_state.list_for_user(alice)
    assert subscription.status == "active"
    assert grants.recalculate_tier(alice) == "free"
    local_stripe.double.end_period(subscription.id)  # is paid again
    local_stripe.deliver()
    assert list(reconciliation.reconcile()) == [] and list(reconciliation.reconcile_payments()) == []
    assert tier(alice) == "free"


def test_a_grant_of_staff_still_counts(local_stripe: LocalStripe, alice: Any) -> None:
    lose(local_stripe, local_stripe.subscribe(alice))
    grants.grant(user=alice, tier="team", reason="A settlement")
    assert tier(alice) == "team"


def test_staff_restore_the_tier(local_stripe: LocalStripe, alice: Any, make_user: Any) -> None:
    boss = make_user("boss", is_staff=True)
    dispute_id = lose(local_stripe, local_stripe.subscribe(alice))
    assert grants.waive_lost_disputes(user=alice, reason="Paid by transfer", actor=boss) == 1
    assert (tier(alice), blocked(alice)) == ("pro", False)
    waiver = DisputeWaiver.objects.get()
    assert (waiver.pk, waiver.reason, waiver.waived_by) == (dispute_id, "Paid by transfer", boss)
    audited = AuditEvent.objects.get(subject_id=alice.pk, action=Action.DISPUTE_WAIVED)
    assert (audited.actor_id, audited.details["reason"]) == (boss.pk, "Paid by transfer")
    assert grants.waive_lost_disputes(user=alice, reason="Twice") == 0
    assert AuditEvent.objects.filter(subject_id=alice.pk, action=Action.DISPUTE_WAIVED).count() == 1


def test_a_second_dispute_ends_the_tier_again(local_stripe: LocalStripe, alice: Any, alarms: list[str]) -> None:
    charge = local_stripe.subscribe(alice)
    lose(local_stripe, charge)
    grants.waive_lost_disputes(user=alice, reason="A settlement")
    lose(local_stripe, charge)
    assert (tier(alice), blocked(alice)) == ("free", True)
    assert alarms == ["dispute_lost"] * 2
    assert Invoice.objects.get().stripe_data["amount_lost"] == 5800


def test_two_disputes_of_which_one_is_won(local_stripe: LocalStripe, alice: Any) -> None:
    charge = local_stripe.subscribe(alice)
    first, second = (local_stripe.double.dispute(charge["id"], amount=1000)["id"] for _ in range(2))
    local_stripe.double.set_dispute(first, "won")
    local_stripe.deliver()
    assert (tier(alice), blocked(alice)) == ("pro", True)
    local_stripe.double.set_dispute(second, "won")
    local_stripe.deliver()
    assert not blocked(alice)


def test_a_lost_dispute_that_is_won_after_all(local_stripe: LocalStripe, alice: Any) -> None:
    dispute_id = lose(local_stripe, local_stripe.subscribe(alice))
    local_stripe.double.set_dispute(dispute_id, "won")
    local_stripe.deliver()
    assert (tier(alice), blocked(alice)) == ("pro", False)
    assert Invoice.objects.get().stripe_data["amount_lost"] == 0


def test_a_refund_after_a_dispute(local_stripe: LocalStripe, alice: Any, alarms: list[str]) -> None:
    """An inquiry can be answered by a refund, and closes then."""
    charge = local_stripe.subscribe(alice)
    inquiry = local_stripe.double.dispute(charge["id"], inquiry=True)
    local_stripe.double.refund(charge["id"])
    local_stripe.double.set_dispute(inquiry["id"], "warning_closed")
    local_stripe.deliver()
    assert (tier(alice), blocked(alice), alarms) == ("pro", False, ["payment_refunded"])
    data = Invoice.objects.get().stripe_data
    assert (data["amount_refunded"], data["amount_lost"]) == (2900, 0)


def test_reconciliation_finds_what_no_event_reported(local_stripe: LocalStripe, alice: Any, bob: Any) -> None:
    hers, his = local_stripe.subscribe(alice), local_stripe.subscribe(bob, "team")
    local_stripe.double.refund(hers["id"], amount=500)
    opened = local_stripe.double.dispute(his["id"])
    assert {each.id for each in reconciliation.reconcile_payments()} == {hers["id"], his["id"]}
    assert Invoice.objects.get(customer__subscriber=alice).stripe_data["amount_refunded"] == 500
    assert blocked(bob) and tier(bob) == "team"
    local_stripe.double.set_dispute(opened["id"], "lost")
    assert [each.id for each in reconciliation.reconcile_payments()] == [his["id"]]
    assert tier(bob) == "free"
    assert list(reconciliation.reconcile_payments()) == []


def test_reconciliation_fetches_payments_of_an_earlier_release(local_stripe: LocalStripe, alice: Any) -> None:
    local_stripe.subscribe(alice)
    row = Invoice.objects.get()
    row.charges.all().delete()
    del row.stripe_data["payments"]
    row.save()
    assert [each.id for each in reconciliation.reconcile_payments()] == [row.id]
    assert row.charges.get().stripe_data["card"]["last4"] == "4242"
    assert list(reconciliation.reconcile_payments()) == []


def test_reconciliation_leaves_strangers_alone(local_stripe: LocalStripe, alarms: list[str]) -> None:
    local_stripe.double.refund(local_stripe.double.charge(local_stripe.stranger())["id"])
    assert list(reconciliation.reconcile_payments()) == []
    assert alarms == ["unknown_charge"]


def test_a_failed_repair_is_reported(local_stripe: LocalStripe, alice: Any) -> None:
    charge = local_stripe.subscribe(alice)
    local_stripe.double.refund(charge["id"])
    local_stripe.double.fault("/v1/invoice_payments", status=500, times=2)
    [failed] = reconciliation.reconcile_payments()
    assert (failed.id, "cannot be reached" in failed.error) == (charge["id"], True)
    assert [each.error for each in reconciliation.reconcile_payments()] == [""]


def test_a_deleted_account(local_stripe: LocalStripe, alice: Any, alarms: list[str]) -> None:
    charge = local_stripe.subscribe(alice)
    lose(local_stripe, charge)
    grants.waive_lost_disputes(user=alice, reason="A settlement")
    assert deletion.delete_account(alice)
    assert not DisputeWaiver.objects.exists() and Dispute.objects.count() == 1
    local_stripe.double.dispute(charge["id"])
    local_stripe.deliver()
    assert Dispute.objects.count() == 2
    assert alarms[-1] == "dispute_opened"


def test_the_export_holds_payments_and_disputes(local_stripe: LocalStripe, alice: Any) -> None:
    dispute_id = lose(local_stripe, local_stripe.subscribe(alice))
    grants.waive_lost_disputes(user=alice, reason="A settlement")
    exported = {name: rows for name, rows in registry.export(alice) if not isinstance(rows, dict)}
    [payment] = exported["payments"]
    assert payment["card"] == {"brand": "visa", "last4": "4242"}
    assert [each["id"] for each in exported["disputes"]] == [dispute_id]
    assert [each["reason"] for each in exported["disputeWaivers"]] == ["A settlement"]
