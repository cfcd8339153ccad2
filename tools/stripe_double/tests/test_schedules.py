"""Schedules: a cheaper plan at the period's end."""

from typing import Any

import pytest
import stripe

from tools.stripe_double.double import Double
from tools.stripe_double.tests.plans import Plans, item, price_of, types


def downgrade(
    client: stripe.StripeClient, plans: Plans, subscription: stripe.Subscription
) -> stripe.SubscriptionSchedule:
    schedule = client.v1.subscription_schedules.create({"from_subscription": subscription.id})
    phase = schedule.phases[0]
    return client.v1.subscription_schedules.update(
        schedule.id,
        {
            "end_behavior": "release",
            "phases": [
                {
                    "items": [{"price": str(phase["items"][0].price), "quantity": 1}],
                    "start_date": phase.start_date,
                    "end_date": phase.end_date,
                },
                {"items": [{"price": plans.pro.id, "quantity": 1}], "proration_behavior": "none"},
            ],
        },
    )


@pytest.fixture
def team(double: Double, plans: Plans) -> stripe.Subscription:
    return plans.subscribed(double, plans.team)


def first_price(subscription: dict[str, Any]) -> str:
    return str(subscription["items"]["data"][0]["price"]["lookup_key"])


def test_it_works(double: Double, client: stripe.StripeClient, plans: Plans, team: stripe.Subscription) -> None:
    schedule = downgrade(client, plans, team)
    waiting = client.v1.subscriptions.retrieve(team.id)
    assert (waiting.schedule, price_of(waiting)) == (schedule.id, "team_monthly")
    assert first_price(double.end_period(team.id)) == "pro_monthly"
    invoice = client.v1.invoices.list({"subscription": team.id}).data[0]
    assert (invoice.total, invoice.billing_reason) == (2000, "subscription_cycle")
    assert double.end_period(team.id)["schedule"] is None
    assert client.v1.subscription_schedules.retrieve(schedule.id).status == "released"
    assert "subscription_schedule.released" in types(double.events())


def test_it_is_released(double: Double, client: stripe.StripeClient, plans: Plans, team: stripe.Subscription) -> None:
    schedule = downgrade(client, plans, team)
    released = client.v1.subscription_schedules.release(schedule.id)
    assert (released.status, released.released_subscription, released.subscription) == ("released", team.id, None)
    assert first_price(double.end_period(team.id)) == "team_monthly"
    with pytest.raises(stripe.InvalidRequestError, match="`released` status"):
        client.v1.subscription_schedules.release(schedule.id)


def test_it_is_listed(client: stripe.StripeClient, plans: Plans, team: stripe.Subscription) -> None:
    schedule = downgrade(client, plans, team)
    listed = client.v1.subscription_schedules.list({"customer": str(team.customer)}).data
    assert [each.id for each in listed] == [schedule.id]
    assert client.v1.subscription_schedules.list({"customer": "cus_1"}).data == []


def test_only_one(client: stripe.StripeClient, plans: Plans, team: stripe.Subscription) -> None:
    downgrade(client, plans, team)
    with pytest.raises(stripe.InvalidRequestError, match="already attached"):
        client.v1.subscription_schedules.create({"from_subscription": team.id})


def test_a_subscription_with_a_schedule_is_not_canceled_beside_it(
    client: stripe.StripeClient, plans: Plans, team: stripe.Subscription
) -> None:
    downgrade(client, plans, team)
    with pytest.raises(stripe.InvalidRequestError, match="managed by the subscription schedule"):
        client.v1.subscriptions.update(team.id, {"cancel_at_period_end": True})


def test_canceling_at_once_ends_the_schedule(
    client: stripe.StripeClient, plans: Plans, team: stripe.Subscription
) -> None:
    schedule = downgrade(client, plans, team)
    assert client.v1.subscriptions.cancel(team.id).schedule is None
    assert client.v1.subscription_schedules.retrieve(schedule.id).status == "canceled"


def test_it_ends_with_the_schedule(double: Double, client: stripe.StripeClient, team: stripe.Subscription) -> None:
    schedule = client.v1.subscription_schedules.create({"from_subscription": team.id})
    client.v1.subscription_schedules.update(schedule.id, {"end_behavior": "cancel"})
    assert double.end_period(team.id)["status"] == "canceled"


def test_the_current_phase_begins_where_it_began(
    client: stripe.StripeClient, plans: Plans, team: stripe.Subscription
) -> None:
    schedule = client.v1.subscription_schedules.create({"from_subscription": team.id})
    with pytest.raises(stripe.InvalidRequestError, match="start date of the current phase"):
        client.v1.subscription_schedules.update(
            schedule.id, {"phases": [{"items": [{"price": plans.pro.id}], "start_date": 1}]}
        )


def test_a_phase_in_between_has_an_end(client: stripe.StripeClient, plans: Plans, team: stripe.Subscription) -> None:
    schedule = client.v1.subscription_schedules.create({"from_subscription": team.id})
    phases: Any = [{"items": [{"price": plans.pro.id}]}] * 2
    with pytest.raises(stripe.InvalidRequestError, match="needs an `end_date`"):
        client.v1.subscription_schedules.update(schedule.id, {"phases": phases})


def test_an_upgrade_meanwhile_changes_the_phase(
    client: stripe.StripeClient, plans: Plans, team: stripe.Subscription
) -> None:
    schedule = downgrade(client, plans, team)
    client.v1.subscriptions.update(team.id, {"items": [{"id": item(team).id, "price": plans.pro.id}]})
    assert client.v1.subscription_schedules.retrieve(schedule.id).phases[0]["items"][0].price == plans.pro.id
