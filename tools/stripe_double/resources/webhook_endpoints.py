"""Webhook endpoints: kept, listed and deleted, and no more."""

from tools.stripe_double.merging import merged
from tools.stripe_double.params import Params, WebhookEndpointCreate
from tools.stripe_double.state import Object, World, new_id


def create(world: World, sent: WebhookEndpointCreate) -> Object:
    """A webhook endpoint as Stripe keeps it; the double delivers to the address it was started with, and only there."""
    made = {
        "id": new_id("we"),
        "object": "webhook_endpoint",
        "api_version": sent.api_version,
        "application": None,
        "created": world.now(),
        "description": sent.description,
        "enabled_events": sent.enabled_events,
        "livemode": False,
        "metadata": merged({}, sent.metadata),
        "status": "enabled",
        "url": sent.url,
    }
    world.add(made)
    return {**made, "secret": new_id("whsec")}


def delete(world: World, sent: Params, identifier: str) -> Object:
    world.get("webhook_endpoint", identifier)
    del world.objects[identifier]
    return {"id": identifier, "object": "webhook_endpoint", "deleted": True}
