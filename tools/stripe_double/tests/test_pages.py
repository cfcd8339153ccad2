"""The pages, in a browser without JavaScript."""

import re
from urllib.parse import urlsplit

import httpx
import pytest
import stripe
from stripe.params.billing_portal import SessionCreateParams as PortalParams

from tools.stripe_double.double import Double
from tools.stripe_double.tests.plans import Plans, price_of

BANNER = "This is a double of Stripe on this machine. No money moves."


def portal(client: stripe.StripeClient, customer: str, configuration: str | None = None) -> str:
    asked: PortalParams = {"customer": customer, "return_url": "http://127.0.0.1:9/settings"}
    if configuration:
        asked["configuration"] = configuration
    return urlsplit(client.v1.billing_portal.sessions.create(asked).url).path


def press(browser: httpx.Client, page: str, label: str) -> httpx.Response:
    """Submit the form whose button has the label, and follow redirects on the double."""
    for action, body in re.findall(r'<form method="post" action="([^"]+)">(.*?)</form>', browser.get(page).text, re.S):
        hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]+)">', body))
        for attributes, text in re.findall(r"<button([^>]*)>([^<]*)</button>", body):
            if text == label:
                named = dict(re.findall(r'name="([^"]+)" value="([^"]+)"', attributes))
                return browser.post(action, data={**hidden, **named})
    raise AssertionError(f"no button says {label!r}")


def test_it_works(browser: httpx.Client, client: stripe.StripeClient, plans: Plans) -> None:
    session = plans.session(plans.pro)
    page = urlsplit(str(session.url)).path
    shown = browser.get(page).text
    for text in (BANNER, "Pro", "$20.00 per month", "alice@example.com", 'href="http://127.0.0.1:9/plans">Back'):
        assert text in shown
    paid = press(browser, page, "Pay")
    assert (paid.status_code, paid.headers["Location"]) == (303, f"http://127.0.0.1:9/done?session={session.id}")
    complete = client.v1.checkout.sessions.retrieve(session.id, {"expand": ["line_items", "subscription"]})
    assert (complete.status, complete.payment_status) == ("complete", "paid")
    assert complete.line_items
    assert isinstance(complete.subscription, stripe.Subscription)
    assert price_of(complete.subscription) == "pro_monthly"


def test_a_card_that_is_declined(
    double: Double, browser: httpx.Client, client: stripe.StripeClient, plans: Plans
) -> None:
    session = plans.session(plans.pro)
    refused = press(browser, f"/pay/{session.id}", "Pay with a card that is declined")
    assert "Your card was declined" in refused.text
    assert client.v1.checkout.sessions.retrieve(session.id).status == "open"
    assert not double.events("customer.subscription.created")
    assert press(browser, f"/pay/{session.id}", "Pay").status_code == 303


def test_paying_twice_buys_once(double: Double, browser: httpx.Client, plans: Plans) -> None:
    page = f"/pay/{plans.session(plans.pro).id}"
    answers = [browser.post(page, data={"card": "good"}) for _ in range(2)]
    assert [each.status_code for each in answers] == [303, 303]
    assert len(double.events("customer.subscription.created")) == 1
    assert "This checkout is paid already" in browser.get(page).text


def test_a_session_that_has_expired(
    double: Double, browser: httpx.Client, client: stripe.StripeClient, plans: Plans
) -> None:
    session = client.v1.checkout.sessions.expire(plans.session(plans.pro).id)
    assert (session.status, session.url) == ("expired", None)
    assert "This checkout has expired" in browser.get(f"/pay/{session.id}").text
    browser.post(f"/pay/{session.id}", data={"card": "good"})
    assert not double.events("customer.subscription.created")
    with pytest.raises(stripe.InvalidRequestError, match="can be expired"):
        client.v1.checkout.sessions.expire(session.id)


def test_the_policy_lets_the_form_redirect_back(browser: httpx.Client, plans: Plans) -> None:
    response = browser.get(f"/pay/{plans.session(plans.pro).id}")
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'self'; form-action 'self' http://127.0.0.1:9;")
    assert not re.search(r"<script|<style| style=| on\w+=", response.text)
    assert browser.get("/style.css").headers["Content-Type"].startswith("text/css")


def test_names_are_escaped(browser: httpx.Client, client: stripe.StripeClient, plans: Plans) -> None:
    client.v1.products.update(str(plans.pro.product), {"name": "<b>Pro</b>"})
    assert "&lt;b&gt;Pro&lt;/b&gt;" in browser.get(f"/pay/{plans.session(plans.pro).id}").text


def test_no_such_page(browser: httpx.Client) -> None:
    assert browser.get("/pay/cs_test_1").status_code == 404
    assert browser.get("/portal/bps_1").status_code == 404
    assert browser.get("/invoice/in_1").status_code == 404


def test_the_portal(double: Double, browser: httpx.Client, client: stripe.StripeClient, plans: Plans) -> None:
    subscription = plans.subscribed(double)
    page = portal(client, str(subscription.customer))
    shown = browser.get(page).text
    for text in (BANNER, "Pro <", "active", "$20.00 per month", 'href="http://127.0.0.1:9/settings">Return', "paid"):
        assert text in shown
    assert press(browser, page, "Switch to Team, $50.00 per month").headers["Location"] == page
    assert price_of(client.v1.subscriptions.retrieve(subscription.id)) == "team_monthly"


def test_the_portal_cancels_as_on_flexible_billing(
    double: Double, browser: httpx.Client, client: stripe.StripeClient, plans: Plans
) -> None:
    subscription = plans.subscribed(double)
    page = portal(client, str(subscription.customer))
    press(browser, page, "Cancel subscription")
    canceled = client.v1.subscriptions.retrieve(subscription.id)
    assert (canceled.cancel_at_period_end, canceled.status) == (False, "active")
    assert canceled.cancel_at == canceled["items"].data[0].current_period_end
    assert "ends on" in browser.get(page).text
    press(browser, page, "Keep Pro")
    assert client.v1.subscriptions.retrieve(subscription.id).cancel_at is None
    press(browser, page, "Cancel subscription")
    assert double.end_period(subscription.id)["status"] == "canceled"


def test_the_portal_does_what_its_configuration_allows(
    double: Double, browser: httpx.Client, client: stripe.StripeClient, plans: Plans
) -> None:
    subscription = plans.subscribed(double, plans.team)
    configuration = client.v1.billing_portal.configurations.create(
        {
            "features": {
                "invoice_history": {"enabled": True},
                "subscription_update": {
                    "enabled": True,
                    "default_allowed_updates": ["price"],
                    "products": [
                        {"product": str(each.product), "prices": [each.id]} for each in (plans.pro, plans.team)
                    ],
                    "proration_behavior": "always_invoice",
                    "schedule_at_period_end": {"conditions": [{"type": "decreasing_item_amount"}]},
                },
            }
        }
    )
    page = portal(client, str(subscription.customer), configuration=configuration.id)
    assert "Cancel subscription" not in browser.get(page).text
    press(browser, page, "Switch to Pro, $20.00 per month")
    assert "Changes to Pro on" in browser.get(page).text
    assert price_of(client.v1.subscriptions.retrieve(subscription.id)) == "team_monthly"
    assert double.end_period(subscription.id)["items"]["data"][0]["price"]["lookup_key"] == "pro_monthly"


def test_the_portal_acts_on_its_own_customer(
    double: Double, browser: httpx.Client, client: stripe.StripeClient, plans: Plans
) -> None:
    hers, his = plans.subscribed(double), plans.subscribed(double)
    page = portal(client, str(hers.customer))
    assert browser.post(f"{page}/cancel", data={"subscription": his.id}).status_code == 404
    assert client.v1.subscriptions.retrieve(his.id).cancel_at is None


def test_an_open_invoice_is_paid_on_its_page(
    double: Double, browser: httpx.Client, client: stripe.StripeClient, plans: Plans
) -> None:
    subscription = plans.subscribed(double)
    failed = double.fail_payment(subscription.id)
    page = f"/invoice/{failed['latest_invoice']}"
    assert press(browser, page, "Pay").headers["Location"] == page
    assert "<button" not in browser.get(page).text
    assert client.v1.subscriptions.retrieve(subscription.id).status == "active"


def test_a_portal_without_a_customer(client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="No such customer"):
        portal(client, "cus_1")
