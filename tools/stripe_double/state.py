"""The store of Stripe's objects by id, in creation order, and its file."""

import copy
import json
import os
import secrets
import string
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.stripe_double import API_VERSION, errors
from tools.stripe_double.event_diff import previous_attributes
from tools.stripe_double.resources import account

Object = dict[str, Any]
LETTERS = string.ascii_letters + string.digits


def new_id(prefix: str) -> str:
    return f"{prefix}_{''.join(secrets.choice(LETTERS) for _ in range(24))}"


@dataclass
class ObjectStore:
    """All state that the double keeps between requests."""

    # Written after each change; None keeps the state in memory only.
    file: Path | None = None
    objects: dict[str, Object] = field(default_factory=dict)
    # Of checkout sessions, which Stripe returns on request only.
    line_items: dict[str, list[Object]] = field(default_factory=dict)
    # The parameters of the subscription of an open checkout session.
    promised: dict[str, Object] = field(default_factory=dict)
    # Answers by idempotency key.
    answers: dict[str, Object] = field(default_factory=dict)
    # Customers whose card is declined.
    declined: list[str] = field(default_factory=list)
    # The receiver's last status, by event.
    delivered: dict[str, int] = field(default_factory=dict)
    # The cause of the current events, for their `request` field.
    request: Object = field(default_factory=lambda: {"id": None, "idempotency_key": None})
    # The double's address, as the current client reaches it.
    url: str = ""
    on_event: Callable[[Object], None] = lambda event: None

    KEPT = ("objects", "line_items", "promised", "answers", "declined", "delivered")

    def __post_init__(self) -> None:
        if self.file and self.file.exists():
            for name, value in json.loads(self.file.read_text()).items():
                setattr(self, name, value)
        self._begin()

    def reset(self) -> None:
        for name in self.KEPT:
            getattr(self, name).clear()
        self._begin()
        self.save()

    def _begin(self) -> None:
        if not self.objects:
            self.objects = {created["id"]: created for created in account.first_objects(self.now())}

    def save(self) -> None:
        """Write the state to its file; a crash leaves the previous file."""
        if not self.file:
            return
        self.file.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({name: getattr(self, name) for name in self.KEPT}, indent=1)
        with tempfile.NamedTemporaryFile("w", dir=self.file.parent, prefix=self.file.name, delete=False) as part:
            part.write(text)
        os.replace(part.name, self.file)  # noqa: PTH105  # atomic; Path.replace is the same call

    def now(self) -> int:
        return int(time.time())

    def get(self, kind: str, identifier: str, *, param: str = "id") -> Object:
        """Return the stored object, or raise StripeError; a deleted customer is a stub."""
        found = self.objects.get(identifier)
        if found is None or found["object"] != kind:
            raise errors.resource_missing(kind, identifier, param=param)
        return found

    def all(self, kind: str, **filters: Any) -> list[Object]:
        """List the objects of a kind with these fields, the newest first."""
        stored = [each for each in self.objects.values() if each["object"] == kind and not each.get("deleted")]
        return [each for each in reversed(stored) if all(each[name] == value for name, value in filters.items())]

    def add(self, created: Object, event: str | None = None) -> Object:
        """Store a new object, and emit an event if `event` names a type."""
        self.objects[created["id"]] = created
        if event:
            self.emit(event, created)
        return created

    @contextmanager
    def changing(self, stored: Object, event: str) -> Iterator[Object]:
        """Change an object in the block, and emit an event if it differs afterwards."""
        old = copy.deepcopy(stored)
        yield stored
        if previous := previous_attributes(old, stored):
            self.emit(event, stored, previous)

    def emit(self, event_type: str, subject: Object, previous: Object | None = None) -> Object:
        """Create an event about an object in its current state."""
        data: Object = {"object": copy.deepcopy(subject)}
        if previous is not None:
            data["previous_attributes"] = previous
        event = {
            "id": new_id("evt"),
            "object": "event",
            "api_version": API_VERSION,
            "created": self.now(),
            "data": data,
            "livemode": False,
            "pending_webhooks": 1,
            "request": dict(self.request),
            "type": event_type,
        }
        self.add(event)
        self.on_event(event)
        return event
