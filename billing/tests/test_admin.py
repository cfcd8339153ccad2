"""Billing in the admin."""

from typing import Any

import httpx
import pytest
from django.test import Client
from djstripe.models import Invoice

from billing import grants
from testing.stripe import Stripe
from web.tests import test_admin_queries as rows


@pytest.fixture
def signed_in(client: Client, make_user: Any, settings: Any) -> Client:
    """Return a superuser's client, in this process."""
    settings.STAFF_SECOND_FACTOR = False
    client.force_login(make_user("staff", is_staff=True, is_superuser=True))
    return client


def test_it_works(stripe: Stripe, staff: httpx.Client, alice: Any) -> None:
    subscription_id = stripe.subscribe(alice)
    stripe.wait_for_deliveries()
    page = staff.get(f"/admin/djstripe/subscription/?q={alice.email}").text
    assert subscription_id in page and "active" in page and "pro" in page
    assert alice.email in staff.get("/admin/djstripe/invoice/").text
    assert "invoice.paid" in staff.get("/admin/billing/webhookevent/").text


def test_labels_show_dollars_not_cents(signed_in: Client, alice: Any) -> None:
    """dj-stripe would show an invoice's cents as dollars."""
    subscribed = rows.subscription(alice, 1)
    data = {"status": "paid", "number": "LUNA-0007", "amount_due": 2900, "amount_paid": 2900, "attempt_count": 1}
    paid = Invoice.objects.create(id="in_1", customer=subscribed.customer, stripe_data={**data, "tier": "pro"})
    for path, called in {
        f"invoice/{paid.pk}/": "Invoice LUNA-0007: 29.00 USD, paid",
        f"subscription/{subscribed.pk}/": f"{subscribed.id}, past_due",
    }.items():
        for page in ("change/", "history/"):
            text = signed_in.get(f"/admin/djstripe/{path}{page}").content.decode()
            assert called in text and "2,900" not in text and "&lt;id=" not in text, path
    page = signed_in.get("/admin/djstripe/invoice/").content.decode()
    assert "29.00" in page and "2,900" not in page


def test_revenue_by_month_and_tier(stripe: Stripe, staff: httpx.Client, alice: Any, bob: Any) -> None:
    stripe.subscribe(alice)
    stripe.subscribe(bob, "team")
    stripe.wait_for_deliveries()
    page = staff.get("/admin/djstripe/invoice/").text
    table = page[page.index("Revenue by month and tier") :]
    assert "29.00" in table and "79.00" in table


def test_failed_payments(stripe: Stripe, staff: httpx.Client, alice: Any, bob: Any) -> None:
    stripe.double.fail_payment(stripe.subscribe(alice))
    stripe.subscribe(bob)
    stripe.wait_for_deliveries()
    page = staff.get("/admin/djstripe/invoice/?status=failed").text
    assert alice.email in page and bob.email not in page


def test_nothing_can_be_changed_and_no_secret_read(
    stripe: Stripe, staff: httpx.Client, alice: Any, stripe_environment: dict[str, str]
) -> None:
    subscription_id = stripe.subscribe(alice)
    stripe.wait_for_deliveries()
    for path in ("subscription/add/", "invoice/add/", "customer/", "apikey/", "webhookendpoint/", "event/"):
        assert staff.get(f"/admin/djstripe/{path}").status_code in (403, 404)
    pages = [staff.get(f"/admin/{path}").text for path in ("djstripe/subscription/", "billing/webhookevent/", "")]
    for page in pages:
        assert stripe_environment["STRIPE_SECRET_KEY"] not in page and "whsec_" not in page
    assert subscription_id in pages[0]


def test_a_users_page_shows_subscriptions_and_payments(stripe: Stripe, staff: httpx.Client, alice: Any) -> None:
    assert "No payments and no grants." in staff.get(f"/admin/accounts/user/{alice.pk}/change/").text
    subscription_id = stripe.subscribe(alice)
    stripe.wait_for_deliveries()
    grants.grant(user=alice, tier="team", reason="For a talk.")
    page = staff.get(f"/admin/accounts/user/{alice.pk}/change/").text
    for shown in (subscription_id, "For a talk.", "invoice.paid", "customer.subscription.created"):
        assert shown in page
