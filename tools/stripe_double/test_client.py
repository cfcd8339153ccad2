"""A client of the control routes, for a double in this or another process."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tools.stripe_double import deliveries

TIMEOUT_S = 40


class HeldRequest:
    def __init__(self, client: "DoubleClient", number: int) -> None:
        self._client = client
        self._path = f"/_test/faults/{number}"

    def wait(self) -> None:
        self._client.call("GET", f"{self._path}?wait=1")

    def release(self) -> None:
        self._client.call("POST", f"{self._path}/release")


class DoubleClient:
    """Controls a double of Stripe over HTTP; a refusal raises `httpx.HTTPStatusError`."""

    url: str
    webhook_secret: str
    _client: httpx.Client

    def connect(self, url: str, webhook_secret: str) -> None:
        self.url = url
        self.webhook_secret = webhook_secret
        self._client = httpx.Client(base_url=url, timeout=TIMEOUT_S)

    def close(self) -> None:
        self._client.close()

    def call(self, method: str, route: str, /, **order: Any) -> Any:
        response = self._client.request(method, route, json=order if method == "POST" else None)
        response.raise_for_status()
        return response.json()

    def _subscription(self, subscription_id: str, what: str, **order: Any) -> dict[str, Any]:
        changed: dict[str, Any] = self.call("POST", f"/_test/subscriptions/{subscription_id}/{what}", **order)
        return changed

    def end_period(self, subscription_id: str, *, at: int | None = None) -> dict[str, Any]:
        """End the period, at its end or at a time in Unix seconds: renew or end."""
        return self._subscription(subscription_id, "end_period", at=at)

    def fail_payment(self, subscription_id: str, *, at: int | None = None) -> dict[str, Any]:
        """Let a renewal's payment fail, now or at a time in Unix seconds."""
        return self._subscription(subscription_id, "fail_payment", at=at)

    def recover(self, subscription_id: str) -> dict[str, Any]:
        return self._subscription(subscription_id, "pay")

    def set_status(
        self, subscription_id: str, status: str, *, period_start: int | None = None, period_end: int | None = None
    ) -> dict[str, Any]:
        return self._subscription(
            subscription_id, "status", status=status, period_start=period_start, period_end=period_end
        )

    def set_price(self, subscription_id: str, price: str, *, quantity: int = 1) -> dict[str, Any]:
        return self._subscription(subscription_id, "items", price=price, quantity=quantity)

    def pay(self, checkout_session_id: str) -> dict[str, Any]:
        """Pay a checkout session, as the page's button does, and return it."""
        session: dict[str, Any] = self.call("POST", f"/_test/pay/{checkout_session_id}")
        return session

    def set_card(self, customer_id: str, *, declined: bool) -> None:
        self.call("POST", f"/_test/customers/{customer_id}/card", declined=declined)

    def charge(self, customer_id: str | None = None, *, amount: int = 2900) -> dict[str, Any]:
        charged: dict[str, Any] = self.call("POST", "/_test/charges", customer=customer_id, amount=amount)
        return charged

    def refund(self, charge_id: str, **order: Any) -> dict[str, Any]:
        """Refund a charge: all that is left, or `amount` in cents."""
        refunded: dict[str, Any] = self.call("POST", f"/_test/charges/{charge_id}/refund", **order)
        return refunded

    def fail_refund(self, refund_id: str) -> dict[str, Any]:
        failed: dict[str, Any] = self.call("POST", f"/_test/refunds/{refund_id}/fail")
        return failed

    def dispute(self, charge_id: str, **order: Any) -> dict[str, Any]:
        """Open a dispute; `amount`, `reason` and `inquiry` are optional."""
        opened: dict[str, Any] = self.call("POST", f"/_test/charges/{charge_id}/dispute", **order)
        return opened

    def set_dispute(self, dispute_id: str, status: str) -> dict[str, Any]:
        """Move a dispute to a status of Stripe's, such as `won` or `lost`."""
        moved: dict[str, Any] = self.call("POST", f"/_test/disputes/{dispute_id}/status", status=status)
        return moved

    def events(self, event_type: str | None = None) -> list[dict[str, Any]]:
        created: list[dict[str, Any]] = self.call("GET", "/_test/events")["events"]
        return [event for event in created if event_type in (None, event["type"])]

    def delivered(self) -> dict[str, int]:
        """Return the receiver's last status, by event."""
        statuses: dict[str, int] = self.call("GET", "/_test/events")["delivered"]
        return statuses

    def deliver(self, event_id: str, *, url: str | None = None, timestamp: int | None = None) -> int:
        """Send an event once, signed at a time; return the status, 0 without an answer."""
        return int(self.call("POST", f"/_test/events/{event_id}/deliver", url=url, timestamp=timestamp)["status"])

    def sign(self, body: str, *, secret: str | None = None, timestamp: int | None = None) -> str:
        """Return a `Stripe-Signature` header for any body."""
        return deliveries.sign(body, secret or self.webhook_secret, timestamp)

    def deliveries(self, **order: Any) -> None:
        """Change the deliveries: `automatic`, `url` and `event_types`, each optional."""
        self.call("POST", "/_test/deliveries", **order)

    def fault(self, path: str, **order: Any) -> HeldRequest:
        """Inject a `fault_injection.Fault` with these fields."""
        return HeldRequest(self, self.call("POST", "/_test/faults", path=path, **order)["id"])

    @contextmanager
    def hold(self, path: str, *, after_read: bool = False, **order: Any) -> Iterator[HeldRequest]:
        """Hold the next request below a path for the block; `order` as of `fault`."""
        held = self.fault(path, hold=True, after_read=after_read, **order)
        try:
            yield held
        finally:
            held.release()

    def requests(self, path: str = "/v1/") -> list[dict[str, Any]]:
        """List the API's requests below a path, the oldest first."""
        seen: list[dict[str, Any]] = self.call("GET", "/_test/requests")["requests"]
        return [request for request in seen if request["path"].startswith(path)]

    def reset(self) -> None:
        self.call("POST", "/_test/reset")
