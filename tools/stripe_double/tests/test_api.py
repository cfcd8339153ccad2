"""The common part of all routes: keys, versions, idempotency, errors, lists."""

import base64
import uuid
from typing import Any

import httpx
import pytest
import stripe

from tools.stripe_double import API_VERSION
from tools.stripe_double.double import Double
from tools.stripe_double.tests.plans import KEY, Plans

BEARER = {"Authorization": f"Bearer {KEY}"}


def error(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status
    found: dict[str, Any] = response.json()["error"]
    return found


def test_it_works(client: stripe.StripeClient) -> None:
    assert client.v1.accounts.retrieve_current().country == "US"


def test_a_key_as_the_user_of_basic(browser: httpx.Client) -> None:
    basic = base64.b64encode(f"{KEY}:".encode()).decode()
    assert browser.get("/v1/account", headers={"Authorization": f"Basic {basic}"}).status_code == 200


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer sk_live_abc",
        "Bearer rk_live_abc",
        "Bearer pk_test_abc",
        "Basic !",
        "Basic c2tfbGl2ZV9hOg==",
    ],
)
def test_any_other_key_is_refused(browser: httpx.Client, authorization: str) -> None:
    refused = error(browser.get("/v1/account", headers={"Authorization": authorization}), 401)
    assert refused["type"] == "invalid_request_error"
    assert "abc" not in refused["message"]


def test_another_version_is_refused(browser: httpx.Client) -> None:
    response = browser.get("/v1/account", headers={**BEARER, "Stripe-Version": "2025-09-30.clover"})
    assert API_VERSION in error(response, 400)["message"]


def test_a_later_version_of_the_same_name(browser: httpx.Client) -> None:
    headers = {**BEARER, "Stripe-Version": "2026-08-26.dahlia"}  # dj-stripe asks for a product's features with it
    assert browser.get("/v1/account", headers=headers).status_code == 200


def test_an_unknown_parameter(browser: httpx.Client) -> None:
    refused = error(browser.post("/v1/customers", headers=BEARER, data={"mail": "a@example.com"}), 400)
    assert (refused["type"], refused["code"], refused["param"]) == (
        "invalid_request_error",
        "parameter_unknown",
        "mail",
    )


def test_an_unknown_parameter_within_another(browser: httpx.Client, plans: Plans, double: Double) -> None:
    subscription = plans.subscribed(double)
    response = browser.post(
        f"/v1/subscriptions/{subscription.id}", headers=BEARER, data={"items[0][id]": "si_1", "items[0][prize]": "x"}
    )
    assert error(response, 400)["param"] == "items[0][prize]"


def test_a_missing_parameter(client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="Missing required param: name") as caught:
        client.v1.products.create({})  # type: ignore[typeddict-item]
    assert caught.value.code == "parameter_missing"


def test_a_value_that_stripe_does_not_know(client: stripe.StripeClient, plans: Plans, double: Double) -> None:
    subscription = plans.subscribed(double)
    with pytest.raises(stripe.InvalidRequestError, match="Invalid proration_behavior"):
        client.v1.subscriptions.update(subscription.id, {"proration_behavior": "sometimes"})


@pytest.mark.parametrize(
    "path",
    [
        "customers/cus_1",
        "products/prod_1",
        "prices/price_1",
        "subscriptions/sub_1",
        "subscription_items/si_1",
        "checkout/sessions/cs_test_1",
        "invoices/in_1",
        "events/evt_1",
        "subscription_schedules/sub_sched_1",
        "billing_portal/configurations/bpc_1",
        "accounts/acct_1",
        "plans/price_1",
    ],
)
def test_an_unknown_object(browser: httpx.Client, path: str) -> None:
    refused = error(browser.get(f"/v1/{path}", headers=BEARER), 404)
    assert (refused["code"], refused["param"]) == ("resource_missing", "id")
    assert refused["message"].endswith(f"'{path.rsplit('/', 1)[1]}'")


def test_an_unknown_path(browser: httpx.Client) -> None:
    assert "Unrecognized request URL" in error(browser.get("/v1/payouts", headers=BEARER), 404)["message"]


def test_an_idempotency_key_gives_the_same_answer(double: Double, browser: httpx.Client) -> None:
    headers = {**BEARER, "Idempotency-Key": str(uuid.uuid4())}
    first, second = (browser.post("/v1/customers", headers=headers, data={"name": "A"}) for _ in range(2))
    assert first.json() == second.json()
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    assert len(double.events("customer.created")) == 1
    assert double.events()[0]["request"]["idempotency_key"] == headers["Idempotency-Key"]


def test_an_idempotency_key_with_other_parameters(browser: httpx.Client) -> None:
    headers = {**BEARER, "Idempotency-Key": str(uuid.uuid4())}
    browser.post("/v1/customers", headers=headers, data={"name": "A"})
    refused = error(browser.post("/v1/customers", headers=headers, data={"name": "B"}), 400)
    assert refused["type"] == "idempotency_error"


def test_a_refused_request_can_use_its_key_again(browser: httpx.Client) -> None:
    headers = {**BEARER, "Idempotency-Key": str(uuid.uuid4())}
    error(browser.post("/v1/customers", headers=headers, data={"mail": "A"}), 400)
    assert browser.post("/v1/customers", headers=headers, data={"name": "A"}).status_code == 200


def test_a_list_in_pages(client: stripe.StripeClient) -> None:
    created = [client.v1.customers.create({"name": str(number)}).id for number in range(5)]
    page = client.v1.customers.list({"limit": 2})
    assert ([each.id for each in page.data], page.has_more) == (created[:2:-1], True)
    assert [each.id for each in page.auto_paging_iter()] == created[::-1]
    last = client.v1.customers.list({"limit": 2, "starting_after": created[1]})
    assert ([each.id for each in last.data], last.has_more) == ([created[0]], False)
    before = client.v1.customers.list({"limit": 2, "ending_before": created[1]})
    assert ([each.id for each in before.data], before.has_more) == ([created[3], created[2]], True)


def test_a_page_after_nothing(client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="No such object: 'cus_1'"):
        client.v1.customers.list({"starting_after": "cus_1"})


def test_lists_with_filters(client: stripe.StripeClient, plans: Plans, double: Double) -> None:
    subscription = plans.subscribed(double, plans.team, plans.customer("bob@example.com"))
    customer = str(subscription.customer)
    v1 = client.v1
    assert [each.id for each in v1.customers.list({"email": "bob@example.com"}).data] == [customer]
    assert v1.customers.list({"email": "eve@example.com"}).data == []
    assert [each.id for each in v1.prices.list({"lookup_keys": ["pro_monthly", "x"]}).data] == [plans.pro.id]
    assert [each.id for each in v1.prices.list({"product": str(plans.team.product)}).data] == [plans.team.id]
    assert v1.prices.list({"active": False}).data == []
    assert len(v1.subscriptions.list({"customer": customer, "price": plans.team.id}).data) == 1
    assert v1.subscriptions.list({"customer": customer, "price": plans.pro.id}).data == []
    assert len(v1.checkout.sessions.list({"customer": customer, "status": "complete"}).data) == 1
    assert v1.checkout.sessions.list({"customer": customer, "status": "open"}).data == []
    assert len(v1.invoices.list({"customer": customer}).data) == 1
    assert [e.type for e in v1.events.list({"type": "invoice.paid"}).data] == ["invoice.paid"]
    assert v1.events.list({"created": {"gt": subscription.created + 100}}).data == []


def test_expansion(client: stripe.StripeClient, plans: Plans, double: Double) -> None:
    prices = client.v1.prices.list({"expand": ["data.product"]}).data
    assert [each.product.name for each in prices if not isinstance(each.product, str)] == ["Team", "Pro"]
    subscription = plans.subscribed(double)
    whole = client.v1.subscriptions.retrieve(
        subscription.id, {"expand": ["customer", "latest_invoice", "items.data.price.product"]}
    )
    assert isinstance(whole.customer, stripe.Customer)
    assert isinstance(whole.latest_invoice, stripe.Invoice)
    assert whole["items"].data[0].price.product.name == "Pro"
    customer = client.v1.customers.retrieve(whole.customer.id, {"expand": ["subscriptions"]})
    assert customer.subscriptions
    assert customer.subscriptions.data[0].id == subscription.id
    again = client.v1.subscriptions.retrieve(subscription.id)
    assert again.customer == whole.customer.id


def test_a_field_that_cannot_be_expanded(client: stripe.StripeClient, plans: Plans) -> None:
    with pytest.raises(stripe.InvalidRequestError, match=r"This property cannot be expanded \(data.shop\)"):
        client.v1.prices.list({"expand": ["data.shop"]})


def test_requests_are_logged_without_their_key(double: Double, client: stripe.StripeClient) -> None:
    client.v1.customers.create({"metadata": {"user": "1"}}, {"idempotency_key": "once"})
    [seen] = double.requests("/v1/customers")
    assert seen == {
        "method": "POST",
        "path": "/v1/customers",
        "params": {"metadata": {"user": "1"}},
        "idempotency_key": "once",
        "version": API_VERSION,
        "authorization": "sk_test_",
    }
