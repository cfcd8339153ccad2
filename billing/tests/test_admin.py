"""Billing in the admin: why was I charged?"""

import re
from datetime import UTC, datetime
from html import unescape
from typing import Any

import httpx
import pytest
from django.test import Client
from djstripe.models import Invoice, Subscription

from accounts.models import User
from billing import grants
from billing.models import DisputeWaiver
from billing.payments import subscription_state
from testing.stripe import LocalStripe, Stripe
from web.tests import test_admin_queries as rows


@pytest.fixture
def signed_in(client: Client, make_user: Any, settings: Any) -> Client:
    """Return a superuser's client, in this process."""
    settings.STAFF_SECOND_FACTOR = False
    client.force_login(make_user("staff", is_staff=True, is_superuser=True))
    return client


def text_of(client: Client, path: str) -> str:
    """Return the visible text of an admin page."""
    answer = client.get(f"/admin/{path}")
    assert answer.status_code == 200, path
    page = re.sub(r"(?s)<(script|style|nav|head)\b.*?</\1>", " ", answer.content.decode())
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())


def invoice_page(client: Client) -> str:
    return text_of(client, f"djstripe/invoice/{Invoice.objects.order_by('djstripe_id').last().pk}/change/")


def user_page(client: Client, user: Any) -> str:
    return text_of(client, f"accounts/user/{user.pk}/change/")


def today() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}"


def test_it_works(local_stripe: LocalStripe, signed_in: Client, alice: Any) -> None:
    local_stripe.subscribe(alice)
    page = invoice_page(signed_in)
    assert f"29.00 USD were charged on {today()} by Visa •••• 4242 for pro, {today()} to " in page
    for shown in ("the subscription began", alice.email, "All times are in UTC", "1 x lunaos_pro_monthly", "test mode"):
        assert shown in page, shown
    assert "amount_due" not in page and "2,900" not in page


def test_a_list_of_invoices_has_the_answer_in_a_row(
    local_stripe: LocalStripe, signed_in: Client, alice: Any, bob: Any
) -> None:
    local_stripe.double.refund(local_stripe.subscribe(alice)["id"], amount=1000)
    local_stripe.subscribe(bob, "team")
    local_stripe.deliver()
    page = text_of(signed_in, "djstripe/invoice/")
    for shown in (alice.email, "29.00 USD", "refunded in part", "Visa •••• 4242", "79.00 USD", "paid"):
        assert shown in page, shown
    assert bob.email not in text_of(signed_in, "djstripe/invoice/?state=refunded")
    number = Invoice.objects.get(customer__subscriber=bob).stripe_data["number"]
    found = text_of(signed_in, f"djstripe/invoice/?q={number}")
    assert bob.email in found and alice.email not in found


def test_refunds_on_an_invoices_page(local_stripe: LocalStripe, signed_in: Client, alice: Any) -> None:
    charge = local_stripe.subscribe(alice)
    local_stripe.double.refund(charge["id"], amount=1000, reason="requested_by_customer")
    local_stripe.deliver()
    page = invoice_page(signed_in)
    assert "10.00 USD of it were refunded." in page and "requested by customer" in page
    local_stripe.double.refund(charge["id"])
    local_stripe.deliver()
    assert "All of it was refunded." in invoice_page(signed_in)


def test_disputes_on_an_invoices_page(local_stripe: LocalStripe, signed_in: Client, alice: Any) -> None:
    opened = local_stripe.double.dispute(local_stripe.subscribe(alice)["id"])
    local_stripe.deliver()
    page = invoice_page(signed_in)
    assert "29.00 USD are disputed (open, and waits for evidence); checkouts are blocked." in page
    assert "the cardholder says that another person paid" in page and "needs_response" not in page
    local_stripe.double.set_dispute(opened["id"], "lost")
    local_stripe.deliver()
    assert "lost; the paid tier has ended" in invoice_page(signed_in)
    local_stripe.double.set_dispute(opened["id"], "won")
    local_stripe.deliver()
    assert "A dispute about 29.00 USD has ended: won." in invoice_page(signed_in)


def test_a_failed_payment(local_stripe: LocalStripe, signed_in: Client, alice: Any) -> None:
    local_stripe.subscribe(alice)
    [subscription] = subscription_state.list_for_user(alice)
    local_stripe.double.fail_payment(subscription.id)
    local_stripe.deliver()
    page = invoice_page(signed_in)
    assert "Nothing was charged: 1 attempt to charge 29.00 USD for pro" in page
    assert "by Visa •••• 0341. Your card was declined." in page
    assert alice.email in text_of(signed_in, "djstripe/invoice/?state=failed")
    page = text_of(signed_in, "djstripe/subscription/")
    assert f"payment due since {today()}; the tier stays until" in page and "past_due" not in page


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("active", "paid until {end}, then renews"),
        ("unpaid", "not paid, gives no tier"),
        ("incomplete", "not paid yet, gives no tier"),
        ("canceled", "ended on {today}"),
        ("paused", "paused, gives no tier"),
        ("trialing", "on trial until {end}"),
    ],
)
def test_only_a_paid_subscription_claims_to_be_paid(
    local_stripe: LocalStripe, signed_in: Client, alice: Any, status: str, said: str
) -> None:
    local_stripe.subscribe(alice)
    [subscription] = subscription_state.list_for_user(alice)
    local_stripe.double.set_status(subscription.id, status)
    local_stripe.deliver()
    said = said.format(end=f"{subscription.period_end:%Y-%m-%d}", today=today())
    row = Subscription.objects.get()
    for page in ("djstripe/subscription/", f"djstripe/subscription/{row.pk}/change/"):
        assert said in text_of(signed_in, page), page
    page = user_page(signed_in, alice)
    assert said in page
    assert ("paid until" in page) == (status == "active")


def test_a_users_page_answers_first(local_stripe: LocalStripe, signed_in: Client, alice: Any) -> None:
    assert "No payments and no grants." in user_page(signed_in, alice)
    charge = local_stripe.subscribe(alice)
    grants.grant(user=alice, tier="team", reason="For a talk.")
    page = user_page(signed_in, alice)
    for shown in ("Subscription pro: paid until", "Checkouts open", "For a talk.", "An invoice was paid", "29.00 USD"):
        assert shown in page, shown
    local_stripe.double.dispute(charge["id"])
    local_stripe.deliver()
    page = user_page(signed_in, alice)
    assert "Checkouts blocked: a payment is disputed" in page
    assert f"a dispute about 29.00 USD of {today()}, open, and waits for evidence" in page


def test_a_tier_is_restored(local_stripe: LocalStripe, signed_in: Client, alice: Any) -> None:
    opened = local_stripe.double.dispute(local_stripe.subscribe(alice)["id"])
    local_stripe.deliver()
    assert "Restore the paid tier" not in user_page(signed_in, alice)  # as long as nothing is lost
    local_stripe.double.set_dispute(opened["id"], "lost")
    local_stripe.deliver()
    assert "Restore the paid tier" in user_page(signed_in, alice)
    form = {"action": "restore_tier", "_selected_action": str(alice.pk), "back_to_page": "yes", "confirmed": "yes"}
    refused = signed_in.post("/admin/accounts/user/", form)
    assert b"This field is required." in refused.content and not DisputeWaiver.objects.exists()
    done = signed_in.post("/admin/accounts/user/", {**form, "reason": "Paid by transfer"}, follow=True)
    assert b"1 lost dispute is waived." in done.content
    assert User.objects.get(pk=alice.pk).tier == "pro"
    assert "lost, waived by staff" in invoice_page(signed_in)
    assert (
        b"No dispute was lost."
        in signed_in.post("/admin/accounts/user/", {**form, "reason": "Again"}, follow=True).content
    )


def test_links_lead_to_stripes_dashboard(
    local_stripe: LocalStripe, signed_in: Client, alice: Any, settings: Any
) -> None:
    local_stripe.subscribe(alice)
    invoice = Invoice.objects.get()
    path = f"/admin/djstripe/invoice/{invoice.pk}/change/"
    assert f'href="{local_stripe.double.url}/"' in signed_in.get(path).content.decode()
    settings.STRIPE_HOST = "https://api.stripe.com"
    page = signed_in.get(path).content.decode()
    assert f'href="https://dashboard.stripe.com/test/invoices/{invoice.id}"' in page
    assert 'href="https://dashboard.stripe.com/test/payments/pi_' in page
    Invoice.objects.update(livemode=True)
    assert f'href="https://dashboard.stripe.com/invoices/{invoice.id}"' in signed_in.get(path).content.decode()


def test_rows_of_an_earlier_release(local_stripe: LocalStripe, signed_in: Client, alice: Any) -> None:
    """They have no lines, payments or currency."""
    subscribed = rows.subscription(alice, 1)
    data = {"status": "paid", "number": "LUNA-0007", "amount_due": 2900, "amount_paid": 2900, "attempt_count": 1}
    paid = Invoice.objects.create(id="in_1", customer=subscribed.customer, stripe_data={**data, "tier": None})
    for page in ("change/", "history/"):
        text = text_of(signed_in, f"djstripe/invoice/{paid.pk}/{page}")
        assert "Invoice LUNA-0007, 29.00 USD" in text and "2,900" not in text, page
        text = text_of(signed_in, f"djstripe/subscription/{subscribed.pk}/{page}")
        assert f"Subscription of {alice.email}" in text, page
    assert "29.00 USD were charged for a price of no tier." in invoice_page(signed_in)


def test_breadcrumbs_are_in_peoples_words(local_stripe: LocalStripe, signed_in: Client, alice: Any) -> None:
    local_stripe.subscribe(alice)
    page = signed_in.get(f"/admin/djstripe/invoice/{Invoice.objects.get().pk}/change/").content.decode()
    assert "Djstripe" not in page and ">Payments<" in re.sub(r"\s+", "", page)
    assert "Billing chevron_right Events of Stripe" in text_of(signed_in, "billing/webhookevent/")


def test_revenue_by_month_and_tier(local_stripe: LocalStripe, signed_in: Client, alice: Any, bob: Any) -> None:
    local_stripe.double.refund(local_stripe.subscribe(alice)["id"], amount=900)
    local_stripe.subscribe(bob, "team")
    local_stripe.deliver()
    page = text_of(signed_in, "djstripe/invoice/")
    assert "pro 20.00 29.00 9.00 0.00" in page and "team 79.00 79.00 0.00 0.00" in page


def test_events_in_words(local_stripe: LocalStripe, signed_in: Client, alice: Any) -> None:
    local_stripe.subscribe(alice)
    page = text_of(signed_in, "billing/webhookevent/")
    assert "An invoice was paid" in page and "A subscription began" in page


def test_nothing_can_be_changed_and_no_secret_read(
    stripe: Stripe, staff: httpx.Client, alice: Any, stripe_environment: dict[str, str]
) -> None:
    stripe.subscribe(alice)
    stripe.wait_for_deliveries()
    for path in ("subscription/add/", "invoice/add/", "customer/", "apikey/", "charge/", "dispute/", "event/"):
        assert staff.get(f"/admin/djstripe/{path}").status_code in (403, 404)
    pages = [staff.get(f"/admin/{path}").text for path in ("djstripe/subscription/", "billing/webhookevent/", "")]
    for page in pages:
        assert stripe_environment["STRIPE_SECRET_KEY"] not in page and "whsec_" not in page
    assert alice.email in pages[0]
