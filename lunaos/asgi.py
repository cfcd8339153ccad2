"""ASGI entry point: Daphne serves this."""

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar, cast

import django
from asgiref.sync import ThreadSensitiveContext, iscoroutinefunction, sync_to_async
from channels.routing import ProtocolTypeRouter
from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.db import close_old_connections, reset_queries
from django.http import HttpRequest
from django.urls import ResolverMatch, set_script_prefix

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "lunaos.settings")
django.setup(set_prefix=False)

import daphne.server  # noqa: E402, F401 - first, since it installs the asyncio reactor
from django.conf import settings  # noqa: E402 - readable only after setup
from twisted.internet import reactor  # noqa: E402
from twisted.internet.defer import Deferred  # noqa: E402
from twisted.internet.tcp import Port  # noqa: E402

from lunaos import request_limits  # noqa: E402
from lunaos.api import backpressure, fallback_response, paths  # noqa: E402
from lunaos.errors import BadRequest, PayloadTooLarge  # noqa: E402
from lunaos.infra import event_loop, thread_pools  # noqa: E402
from lunaos.infra.postgresql import limits  # noqa: E402
from lunaos.urls import sockets  # noqa: E402
from refusals import recorder  # noqa: E402
from runs import executors  # noqa: E402

limits.use(limits.web())


KEEP_ALIVE_GRACE_S = 1.0  # a proxy may still send a request on a connection that it keeps


class SharedThreadsHandler(ASGIHandler):
    """Django's handler, which runs views in the thread pools of the process."""

    # Django itself makes a thread for each request, and loses the thread's database connection with it.
    # Requests whose response is not complete.
    open_requests: ClassVar[set["asyncio.Task[None]"]] = set()

    pools: ClassVar = {
        pool: ThreadPoolExecutor(size, thread_name_prefix=pool.value)
        for pool, size in (
            (thread_pools.SHARED, settings.THREADS),
            (thread_pools.HASHING, settings.HASHING_THREADS),
            (thread_pools.STRIPE, settings.STRIPE_THREADS),
            (thread_pools.WEBHOOK, settings.STRIPE_THREADS),
            *thread_pools.PROBES.items(),
        )
    }

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        event_loop.adopt()
        scope = {**scope, "path": paths.normalize(scope["path"])}
        task = asyncio.ensure_future(self._answer(scope, receive, send))
        self.open_requests.add(task)
        task.add_done_callback(self.open_requests.discard)
        try:
            # Daphne cancels the request at shutdown; it may continue for STOP_GRACE_S.
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if not executors.is_shutting_down():
                task.cancel()
            raise

    async def handle(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request as Django's handler does, but close the response without a thread (docs/adr/0049)."""
        try:
            body_file = await self.read_body(receive)
        except RequestAborted:
            return
        try:
            set_script_prefix(get_script_prefix(scope))
            await signals.request_started.asend(sender=type(self), scope=scope)
            request, refusal = self.create_request(scope, body_file)
            if request is None:
                await self.send_response(refusal, send)
                return
            await self._respond(request, receive, send)
        finally:
            body_file.close()

    async def _respond(self, request: Any, receive: Any, send: Any) -> None:
        answering = asyncio.create_task(self._send_answer(request, send))
        leaving = asyncio.create_task(self.listen_for_disconnect(receive))
        await asyncio.wait((leaving, answering), return_when=asyncio.FIRST_COMPLETED)
        leaving.cancel() if answering.done() else answering.cancel()
        await asyncio.wait((leaving, answering))
        with suppress(RequestAborted, asyncio.CancelledError):
            leaving.result()
        try:
            response = answering.result()
        except asyncio.CancelledError:
            await signals.request_finished.asend(sender=type(self))
        else:
            await close_response(response)

    async def _send_answer(self, request: Any, send: Any) -> Any:
        response = await self.run_get_response(request)
        with suppress(asyncio.CancelledError):  # the client has left
            await self.send_response(response, send)
        return response

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        started_at, has_started, sender = time.perf_counter(), False, with_backpressure(send)
        pool = thread_pools.get_middleware_pool(scope["path"], scope["method"])

        async def track_start(message: Any) -> None:
            nonlocal has_started
            has_started = True
            await self._close_connections(sender)(message)

        try:
            async with ThreadSensitiveContext(executor=self.pools[pool]):
                await self.handle(scope, receive, track_start)
        except Exception as e:
            # Django failed outside its error handling, as in a signal.
            if has_started:
                raise
            await self.send_response(
                fallback_response.create(scope, e, time.perf_counter() - started_at), self._close_connections(send)
            )

    def create_request(self, scope: Any, body_file: Any) -> tuple[Any, Any]:
        request, refusal = super().create_request(scope, body_file)
        # Django's refusal is HTML; clients get the contract's form.
        if refusal is not None:
            error = PayloadTooLarge() if refusal.status_code == PayloadTooLarge.status else BadRequest()
            refusal = fallback_response.create(scope, error, 0.0)
        return request, refusal

    def resolve_request(self, request: HttpRequest) -> ResolverMatch:
        """Find the view, and bind a view that is no coroutine to its thread pool."""
        match = super().resolve_request(request)
        # Middleware runs in another pool (`get_middleware_pool`): a finished answer must not wait for views.
        pool = thread_pools.get_pool(match.func, str(request.method))
        if not iscoroutinefunction(match.func):
            in_thread = partial(call_view, match.func)
            match.func = sync_to_async(in_thread, thread_sensitive=False, executor=self.pools[pool])
        return match

    def _close_connections(self, send: Any) -> Any:
        async def send_with_close(message: Any) -> None:
            # Clients then connect to another process.
            if executors.is_shutting_down() and message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"Connection", b"close")]}
            await send(message)

        return send_with_close


def call_view(view: Any, *args: Any, **kwargs: Any) -> Any:
    """Call a view and render its answer, on one hop to a thread and with a usable database connection."""
    # Django would take four: `request_started`, the view, `render`, `close`. No middleware has
    # `process_template_response`, which would run in between.
    close_old_connections()
    try:
        response = view(*args, **kwargs)
        if callable(getattr(response, "render", None)):
            response = response.render()
            response.render = None  # spares Django a hop to find it rendered
        return response
    finally:
        close_old_connections()


async def close_response(response: Any) -> None:
    """Close a response, in a thread only if it holds files."""
    if len(response._resource_closers) > 1:  # the first is the request's
        await sync_to_async(response.close)()
    else:
        response.close()


def with_backpressure(send: Any) -> backpressure.BackpressureSend:
    """Return a `send` that waits for its client, and set it as `backpressure.current`."""
    waiting = backpressure.BackpressureSend(send, settings.STREAM_STALL_S)
    backpressure.current.set(waiting)
    return waiting


async def websockets_with_backpressure(scope: Any, receive: Any, send: Any) -> None:
    await sockets({**scope, "path": paths.normalize(scope["path"])}, receive, with_backpressure(send))


def shut_down() -> "Deferred[None]":
    """Stop accepting connections; wait up to STOP_GRACE_S for open requests and runs."""
    executors.mark_shutting_down()
    for port in cast(Any, reactor).getReaders():
        if isinstance(port, Port):
            cast(Any, port).doRead()  # accept what waits in the backlog: closing the port would reset it
            cast(Any, port).stopListening()
    return Deferred.fromFuture(asyncio.ensure_future(_wait_for_requests_and_runs(settings.STOP_GRACE_S)))


async def _wait_for_requests_and_runs(grace_s: float) -> None:
    deadline = time.monotonic() + grace_s
    await asyncio.sleep(min(KEEP_ALIVE_GRACE_S, grace_s))
    while SharedThreadsHandler.open_requests and time.monotonic() < deadline:
        await asyncio.wait(set(SharedThreadsHandler.open_requests), timeout=deadline - time.monotonic())
    await executors.shut_down(max(0.0, deadline - time.monotonic()))
    await recorder.write_at_exit()


def leave_connections_to_views() -> None:
    """Disconnect Django's receivers that look after connections, as `call_view` does."""
    # They would cost each request a hop to a thread, and look after that thread's connection, not after the view's.
    for receiver in (close_old_connections, reset_queries):
        signals.request_started.disconnect(receiver)
    signals.request_finished.disconnect(close_old_connections)


leave_connections_to_views()
request_limits.install()
cast(Any, reactor).addSystemEventTrigger("before", "shutdown", shut_down)
application = ProtocolTypeRouter({"http": SharedThreadsHandler(), "websocket": websockets_with_backpressure})
