"""Delayed and failing answers, for tests."""

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from pydantic import Field

from tools.stripe_double import errors
from tools.stripe_double.params import Nested

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Fault(Nested):
    """A fault of the next `times` requests whose path starts with `path`."""

    path: str
    method: str | None = None
    times: int = Field(default=1, ge=1)
    # How long the answer waits; `hold` waits until it is released.
    delay_s: float = Field(default=0.0, ge=0)
    hold: bool = False
    # The status of an error answer.
    status: int | None = None
    # Break the connection without an answer.
    cut: bool = False
    # Execute the request first, so that only its answer is late, an error or lost.
    after_read: bool = False


class ActiveFault:
    def __init__(self, number: int, fault: Fault) -> None:
        self.number = number
        self.fault = fault
        self.remaining = fault.times
        self.waiting = 0
        self.matched = asyncio.Condition()
        self.released = asyncio.Event()

    def matches(self, request: web.Request) -> bool:
        return (
            self.remaining > 0
            and request.path.startswith(self.fault.path)
            and self.fault.method in (None, request.method)
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.number,
            "left": self.remaining,
            "waiting": self.waiting,
            "released": self.released.is_set(),
            **self.fault.model_dump(),
        }

    async def wait(self) -> None:
        """Hold a request, and notify those that wait for a held request."""
        async with self.matched:
            self.waiting += 1
            self.matched.notify_all()
        with contextlib.suppress(TimeoutError):  # a release also ends a delay early
            async with asyncio.timeout(None if self.fault.hold else self.fault.delay_s):
                await self.released.wait()
        self.waiting -= 1

    async def until_waiting(self) -> None:
        async with self.matched:
            await self.matched.wait_for(lambda: self.waiting > 0)


class FaultInjector:
    def __init__(self) -> None:
        self.active: dict[int, ActiveFault] = {}
        self._numbers = itertools.count(1)

    def add(self, fault: Fault) -> ActiveFault:
        created = ActiveFault(next(self._numbers), fault)
        self.active[created.number] = created
        return created

    def get(self, number: str) -> ActiveFault:
        found = self.active.get(int(number))
        if not found:
            raise errors.resource_missing("fault", number)
        return found

    def clear(self) -> None:
        for each in self.active.values():
            each.released.set()
        self.active.clear()

    async def apply(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        active = next((each for each in self.active.values() if each.matches(request)), None)
        if not active:
            return await handler(request)
        active.remaining -= 1
        answer = await handler(request) if active.fault.after_read else None
        await active.wait()
        if active.fault.cut and request.transport:
            request.transport.abort()
        if active.fault.status:
            return _error(active.fault.status)
        return answer or await handler(request)


def _error(status: int) -> web.Response:
    kind = "api_error" if status >= 500 else "invalid_request_error"
    refusal = errors.StripeError("A fault that a test injected.", status=status, kind=kind)
    return web.json_response(refusal.body(), status=status)
