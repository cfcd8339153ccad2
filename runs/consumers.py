"""A run's events over a WebSocket, `ws/runs/{id}`, for pages that prefer sockets.

`?after=` takes the id of the last event received. Each message is an event with its `id`; `{"type": "ping"}` fills
silence. A failure is an `error` message and a close code.
"""

import asyncio
from typing import Any
from urllib.parse import parse_qs

import orjson
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.http import HttpRequest
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts.identity import user_of
from apikeys import permissions
from apikeys.authentication import BearerAuthentication
from billing.throttles import RateThrottle
from lunaos.api import ratelimit
from lunaos.api.exceptions import translate
from lunaos.api.request import get_api_request
from lunaos.api.streaming import backpressure
from lunaos.errors import LunaError, NotAuthenticated, ValidationFailed
from lunaos.infra import client_info, database
from lunaos.infra.observability import metrics
from lunaos.infra.read_access import Access, Guard
from lunaos.scopes import AGENTS, CHAINS
from runs import services
from runs.eventlog.follower import RunFollower
from runs.models import Run

# Browsers cannot set the Authorization header: `new WebSocket(url, ["bearer", token])`.
SUBPROTOCOL = "bearer"
NORMAL_CLOSURE = 1000
APPLICATION_CLOSE_BASE = 4000  # RFC 6455, 7.4.2: the first code for applications; ours add the HTTP status


class RunConsumer(AsyncWebsocketConsumer):
    scopes = (AGENTS, CHAINS)
    _sending: "asyncio.Task[None] | None" = None

    async def connect(self) -> None:
        offered = self.scope["subprotocols"]
        await self.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
        self._sending = asyncio.create_task(self._send_all())

    async def disconnect(self, code: int) -> None:
        if self._sending:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)

    async def _send_all(self) -> None:
        try:
            run, access = await database.call(_authorize, self.scope)
            position = _parse_after(self.scope)
            guard = Guard(access, on_refusal=backpressure.get_timeout_shortener(), is_limited=True)
            guard.open()
            follower = RunFollower(run, position)
            try:
                with metrics.STREAMS.labels("websocket").track_inprogress():
                    await self._follow(follower, guard)
            finally:
                guard.close()
                follower.close()
        except Exception as e:
            error = translate(e)
            await self._send({"type": "error", **error.body})
            await self.close(APPLICATION_CLOSE_BASE + error.status)
        else:
            await self.close(NORMAL_CLOSURE)

    async def _follow(self, follower: RunFollower, guard: Guard) -> None:
        while (entries := await guard.read(follower, settings.STREAM_HEARTBEAT_S)) is not None:
            for position, line in entries:
                await self._send({"id": position, **orjson.loads(line)})
            if not entries:
                await self._send({"type": "ping"})

    async def _send(self, message: dict[str, Any]) -> None:
        await self.send(text_data=orjson.dumps(message).decode())


def _authorize(scope: dict[str, Any]) -> tuple[Run, Access]:
    """Return the socket's run and access, after the checks of an HTTP request."""
    request = _build_request(scope)
    client_info.set_current(
        address=ratelimit.client_address(request._request), user_agent=request.headers.get("User-Agent", "")
    )
    try:
        RateThrottle().allow_request(request, APIView())
    except LunaError as e:
        if e.status == NotAuthenticated.status:  # failed credentials count against the address's limit
            ratelimit.get_address_window(request._request, count=True)
        raise
    if request.user is None:
        raise NotAuthenticated()
    permissions.require_scope(request.auth, RunConsumer.scopes)
    run = services.get(user=user_of(request), run_id=scope["url_route"]["kwargs"]["run_id"])
    return run, get_api_request(request).access


def _build_request(scope: dict[str, Any]) -> Request:
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    # In the form that authentication and throttles read.
    request = HttpRequest()
    request.META["REMOTE_ADDR"] = (scope.get("client") or [""])[0]
    for name, value in headers.items():
        request.META[f"HTTP_{name.upper().replace('-', '_')}"] = value
    if scope["subprotocols"][:1] == [SUBPROTOCOL]:
        request.META["HTTP_AUTHORIZATION"] = " ".join(["Bearer", *scope["subprotocols"][1:2]])
    return Request(request, authenticators=[BearerAuthentication()])


def _parse_after(scope: dict[str, Any]) -> int:
    value = parse_qs(scope["query_string"].decode("latin-1")).get("after", ["0"])[0]
    if not (value.isascii() and value.isdecimal() and len(value) <= 16):
        raise ValidationFailed.for_field("after", "Send the id of the last event you received.")
    return int(value)
