"""Products and prices."""

import pytest
import stripe

from tools.stripe_double.double import Double
from tools.stripe_double.tests.plans import Plans, item, types


def test_it_works(double: Double, client: stripe.StripeClient) -> None:
    product = client.v1.products.create({"id": "lunaos_pro", "name": "Pro", "metadata": {"tier": "pro"}})
    assert (product.id, product.metadata.to_dict()) == ("lunaos_pro", {"tier": "pro"})
    changed = client.v1.products.update(product.id, {"name": "Professional", "metadata": {"tier": "", "a": "b"}})
    assert (changed.name, changed.metadata.to_dict()) == ("Professional", {"a": "b"})
    assert [each.id for each in client.v1.products.list({"active": True}).data] == ["lunaos_pro"]
    assert types(double.events()) == ["product.created", "product.updated"]


def test_an_id_that_is_taken(client: stripe.StripeClient) -> None:
    client.v1.products.create({"id": "lunaos_pro", "name": "Pro"})
    with pytest.raises(stripe.InvalidRequestError, match="already exists"):
        client.v1.products.create({"id": "lunaos_pro", "name": "Pro"})


def test_a_lookup_key_that_is_taken(client: stripe.StripeClient, plans: Plans) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="already uses that lookup key"):
        client.v1.prices.create(
            {"product": str(plans.pro.product), "currency": "usd", "unit_amount": 1, "lookup_key": "pro_monthly"}
        )


def test_a_lookup_key_moves_to_a_new_price(double: Double, client: stripe.StripeClient, plans: Plans) -> None:
    subscription = plans.subscribed(double)
    new = client.v1.prices.create(
        {
            "product": str(plans.pro.product),
            "currency": "usd",
            "unit_amount": 2500,
            "recurring": {"interval": "month"},
            "lookup_key": "pro_monthly",
            "transfer_lookup_key": True,
        }
    )
    assert [each.id for each in client.v1.prices.list({"lookup_keys": ["pro_monthly"]}).data] == [new.id]
    stored = item(client.v1.subscriptions.retrieve(subscription.id)).price
    assert (stored.id, stored.lookup_key) == (plans.pro.id, None)


def test_a_price_is_retired(client: stripe.StripeClient, plans: Plans) -> None:
    client.v1.prices.update(plans.pro.id, {"active": False})
    with pytest.raises(stripe.InvalidRequestError, match="inactive"):
        plans.session(plans.pro)


def test_a_one_time_price_cannot_be_subscribed_to(client: stripe.StripeClient, plans: Plans) -> None:
    once = client.v1.prices.create({"product": str(plans.pro.product), "currency": "usd", "unit_amount": 1})
    with pytest.raises(stripe.InvalidRequestError, match="type=one_time"):
        plans.session(once)


def test_requests_of_dj_stripe(double: Double, client: stripe.StripeClient, plans: Plans) -> None:
    subscription = plans.subscribed(double)
    assert client.v1.subscription_items.retrieve(item(subscription).id).price.id == plans.pro.id
    assert client.v1.products.features.list(str(plans.pro.product)).data == []
    assert client.v1.customers.retrieve(str(subscription.customer), {"expand": ["sources"]}).sources is not None
    assert client.v1.plans.retrieve(plans.pro.id).amount == 2000
    invoice = client.v1.invoices.retrieve(
        str(subscription.latest_invoice), {"expand": ["discounts", "lines.data.discounts"]}
    )
    lines = client.v1.invoices.line_items.list(invoice.id).data
    assert [each.id for each in lines] == [each.id for each in invoice.lines.data]
