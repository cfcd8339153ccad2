"""The pages in Chromium with JavaScript off, under their policy."""

import stripe
from playwright.sync_api import Page, expect

from testing.browser import NewPage
from tools.stripe_double.double import Double
from tools.stripe_double.tests.plans import Plans, price_of

DECLINED, ELSEWHERE = "402 (Payment Required)", "404 (Not Found)"  # the browser's console messages


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def test_it_works(double: Double, client: stripe.StripeClient, plans: Plans, browser_page: NewPage) -> None:
    page = browser_page(
        java_script_enabled=False, viewport={"width": 375, "height": 800}, expected=[DECLINED, ELSEWHERE]
    )
    elsewhere = double.url.replace("127.0.0.1", "localhost") + "/style.css"
    customer = plans.customer()
    session = client.v1.checkout.sessions.create(
        {
            "mode": "subscription",
            "customer": customer.id,
            "line_items": [{"price": plans.pro.id, "quantity": 1}],
            "success_url": elsewhere + "?session={CHECKOUT_SESSION_ID}",
            "cancel_url": elsewhere,
        }
    )
    page.goto(str(session.url))
    expect(page.get_by_role("note")).to_contain_text("No money moves")
    press(page, "Pay with a card that is declined")
    expect(page.get_by_role("alert")).to_contain_text("declined")
    press(page, "Pay")
    assert page.url == f"{elsewhere}?session={session.id}"

    portal = client.v1.billing_portal.sessions.create({"customer": customer.id, "return_url": elsewhere})
    page.goto(portal.url)
    press(page, "Switch to Team, $50.00 per month")
    press(page, "Cancel subscription")
    expect(page.get_by_text("ends on")).to_be_visible()
    press(page, "Keep Team")
    expect(page.get_by_text("renews on")).to_be_visible()
    width = page.locator("html").evaluate("each => [each.scrollWidth, each.clientWidth]")
    assert width[0] == width[1]
    page.get_by_role("link", name="Return").click()
    assert page.url == elsewhere
    [subscription] = client.v1.subscriptions.list({"customer": customer.id}).data
    assert (price_of(subscription), subscription.cancel_at) == ("team_monthly", None)
