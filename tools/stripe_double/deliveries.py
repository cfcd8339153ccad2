"""Deliver events to the product's webhook until the receiver answers 2xx."""

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import aiohttp
import stripe

from tools.stripe_double.state import Object, ObjectStore

DEFAULT_EVENT_TYPES = (
    "checkout.session.completed",
    "customer.subscription.created",
    "customer.subscription.updated",
    "customer.subscription.deleted",
    "invoice.paid",
    "invoice.payment_failed",
    "charge.refunded",
    "refund.created",
    "refund.updated",
    "refund.failed",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.closed",
)
RETRY_DELAYS_S = (0.0, 0.2, 1.0, 3.0, 10.0)
TIMEOUT_S = 30
NO_ANSWER = 0


def body_of(event: Object) -> str:
    # The signature covers these exact characters.
    return json.dumps(event, indent=2)


def sign(body: str, secret: str, timestamp: int | None = None) -> str:
    """Return a `Stripe-Signature` header for a body, as the SDK's own signer makes it."""
    header = stripe.WebhookSignature.generate_signature_header(body, secret, timestamp)
    return str(header)


class Deliveries:
    """Delivers events in the background, so that no request waits for a delivery.

    Args:
        url: of the webhook; None delivers nothing.
        event_types: the types that are delivered; other events are only stored.
        retry_delays_s: seconds before each attempt, the first included.
    """

    def __init__(
        self,
        store: ObjectStore,
        *,
        url: str | None,
        secret: str,
        event_types: Iterable[str] = DEFAULT_EVENT_TYPES,
        retry_delays_s: Iterable[float] = RETRY_DELAYS_S,
    ) -> None:
        self.store = store
        self.url = url
        self.secret = secret
        self.event_types = frozenset(event_types)
        self.retry_delays_s = tuple(retry_delays_s)
        self.automatic = True
        self._tasks: set[asyncio.Task[None]] = set()
        store.on_event = self.schedule

    def schedule(self, event: Object) -> None:
        if self.automatic and self.url and event["type"] in self.event_types:
            task = asyncio.get_running_loop().create_task(self._deliver(event))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def schedule_undelivered(self) -> None:
        # Those that were not accepted when the double stopped.
        for event in reversed(self.store.all("event")):
            if not _is_accepted(self.store.delivered.get(event["id"], NO_ANSWER)):
                self.schedule(event)

    async def _deliver(self, event: Object) -> None:
        for pause in self.retry_delays_s:
            await asyncio.sleep(pause)
            if _is_accepted(await self.post(event)):
                return

    async def post(self, event: Object, *, url: str | None = None, timestamp: int | None = None) -> int:
        """Send an event once; return the receiver's status, 0 without an answer.

        Args:
            url: in place of the webhook's.
            timestamp: of the signature, in Unix seconds; the current time if None.
        """
        body = body_of(event)
        status = await _post(url or self.url or "", body, sign(body, self.secret, timestamp))
        self.store.delivered[event["id"]] = status
        self.store.save()
        return status

    async def stop(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _is_accepted(status: int) -> bool:
    return 200 <= status < 300


async def _post(url: str, body: str, signature: str) -> int:
    headers: dict[str, Any] = {"Content-Type": "application/json; charset=utf-8", "Stripe-Signature": signature}
    headers["User-Agent"] = "Stripe/1.0 (a double of it)"
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session:
            async with session.post(url, data=body.encode(), headers=headers, allow_redirects=False) as answer:
                return answer.status
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return NO_ANSWER
