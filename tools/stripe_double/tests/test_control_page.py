"""The page with buttons for what Stripe's dashboard and a customer's bank do."""

import re

import httpx
import stripe

from tools.stripe_double.double import Double
from tools.stripe_double.tests.plans import Plans


def press(browser: httpx.Client, text: str) -> str:
    """Press the first button with a text, and return the page that follows."""
    page = browser.get("/").text
    found = re.search(rf'<form method="post" action="([^"]+)">\s*<button>{text}<', page)
    found = found or re.search(rf'<button formaction="([^"]+)">{text}<', page)
    assert found, page
    answer = browser.post(found[1])
    assert (answer.status_code, answer.headers.get("Location")) == (303, "/"), answer.text
    return browser.get("/").text


def test_it_works(double: Double, browser: httpx.Client, client: stripe.StripeClient, plans: Plans) -> None:
    assert "There are no customers yet" in browser.get("/").text
    subscription = plans.subscribed(double)
    assert "$10.00" in press(browser, "Refund a half")
    press(browser, "Dispute")
    assert "lost" in press(browser, "Decide for the customer")
    [dispute] = client.v1.disputes.list().data
    assert (dispute.status, dispute.amount) == ("lost", 2000)
    press(browser, "Decline the card from now on")
    press(browser, "End the period")
    assert client.v1.subscriptions.retrieve(subscription.id).status == "past_due"


def test_an_inquiry_is_closed(double: Double, browser: httpx.Client, plans: Plans) -> None:
    plans.subscribed(double)
    press(browser, "Inquire")
    assert "warning closed" in press(browser, "Decide for us")


def test_a_refund_fails(double: Double, browser: httpx.Client, client: stripe.StripeClient, plans: Plans) -> None:
    plans.subscribed(double)
    assert "Refund the rest" not in press(browser, "Refund the rest")
    assert "Refund the rest" in press(browser, "Fail the refund")
    assert not client.v1.charges.list().data[0].amount_refunded


def test_a_subscription_ends(double: Double, browser: httpx.Client, plans: Plans) -> None:
    plans.subscribed(double)
    press(browser, "Fail a payment")
    assert "End the period" not in press(browser, "End the subscription")


def test_a_refused_button_says_why(double: Double, browser: httpx.Client, plans: Plans) -> None:
    plans.subscribed(double)
    assert browser.post("/control/refund/ch_1").status_code == 404
    assert browser.post("/control/explode/ch_1").status_code in (404, 405)
