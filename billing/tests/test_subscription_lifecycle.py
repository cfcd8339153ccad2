"""From checkout to the end in a browser, on the pages of Stripe's double."""

from typing import Any

from playwright.sync_api import expect

from testing.browser import NewPage
from testing.stripe import NO_SUBSCRIPTION, Stripe


def test_it_works(stripe: Stripe, alice: Any, browser_page: NewPage) -> None:
    page = browser_page()
    page.goto(stripe.post(alice, "checkout", tier="pro").json()["data"]["checkoutUrl"])
    page.get_by_role("button", name="Pay", exact=True).click()
    expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
    assert stripe.reaches_tier(alice, "pro")

    page.goto(stripe.post(alice, "portal").json()["data"]["portalUrl"])
    page.get_by_role("button", name="team").click()
    assert stripe.reaches_tier(alice, "team")

    page.get_by_role("button", name="Cancel").first.click()
    assert stripe.double.events("customer.subscription.updated")
    stripe.wait_for_deliveries()
    assert stripe.subscription_state(alice)["subscription"]["cancelAtPeriodEnd"] is True
    page.get_by_role("link", name="Return").click()
    expect(page.get_by_role("link", name="LunaOS").first).to_be_visible()

    stripe.double.end_period(stripe.subscription_state(alice)["subscription"]["id"])
    assert stripe.reaches_tier(alice, "free")
    for event in stripe.double.events():  # every event once more
        stripe.double.deliver(event["id"])
    assert stripe.subscription_state(alice) == NO_SUBSCRIPTION


def test_a_card_that_is_declined(stripe: Stripe, alice: Any, browser_page: NewPage) -> None:
    page = browser_page(expected=["402"])
    page.goto(stripe.post(alice, "checkout", tier="pro").json()["data"]["checkoutUrl"])
    page.get_by_role("button", name="declined").click()
    page.get_by_role("link", name="Back").click()
    expect(page.get_by_role("heading", name="Nothing was charged")).to_be_visible()
    assert stripe.tier(alice) == "free"
