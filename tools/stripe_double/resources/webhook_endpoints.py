"""Webhook endpoints, which are stored, listed and deleted only."""

from tools.stripe_double.object_fields import merge_metadata
from tools.stripe_double.params import Params, WebhookEndpointCreate
from tools.stripe_double.state import Object, ObjectStore, new_id


def create(store: ObjectStore, sent: WebhookEndpointCreate) -> Object:
    # Stored only: the double delivers to its own address.
    created = {
        "id": new_id("we"),
        "object": "webhook_endpoint",
        "api_version": sent.api_version,
        "application": None,
        "created": store.now(),
        "description": sent.description,
        "enabled_events": sent.enabled_events,
        "livemode": False,
        "metadata": merge_metadata({}, sent.metadata),
        "status": "enabled",
        "url": sent.url,
    }
    store.add(created)
    return {**created, "secret": new_id("whsec")}


def delete(store: ObjectStore, sent: Params, identifier: str) -> Object:
    store.get("webhook_endpoint", identifier)
    del store.objects[identifier]
    return {"id": identifier, "object": "webhook_endpoint", "deleted": True}
