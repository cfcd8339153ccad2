"""ASGI entry point: Daphne serves this."""

import asyncio
import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, cast

import django
from asgiref.sync import ThreadSensitiveContext
from channels.routing import ProtocolTypeRouter
from django.core.handlers.asgi import ASGIHandler

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "lunaos.settings")
django.setup(set_prefix=False)

from django.conf import settings  # noqa: E402 - readable only after setup
from twisted.internet import reactor  # noqa: E402 - Daphne's app has set it up by now
from twisted.internet.defer import Deferred  # noqa: E402
from twisted.internet.tcp import Port  # noqa: E402

from lunaos import loop  # noqa: E402
from lunaos.api import unframed  # noqa: E402
from lunaos.api.exceptions import BadRequest  # noqa: E402
from lunaos.errors import PayloadTooLarge  # noqa: E402
from lunaos.postgresql import limits  # noqa: E402
from lunaos.urls import sockets  # noqa: E402
from runs import executors  # noqa: E402

limits.use(limits.web())

ASKS_STRIPE = re.compile(r"/billing/(checkout|change|cancel|resume|portal)\Z|/(checkout/done|portal)\Z")
STRIPE_TELLS = "/billing/webhook"  # apart from the people: events may wait for Stripe much longer
LINGER_S = 1.0  # in which a proxy may still send a request on a connection that it kept
HASHES_PASSWORDS = re.compile(r"/auth/(login|signup|password/(reset|change)|me)\Z|/admin/login/\Z")


class SharedThreadsHandler(ASGIHandler):
    """Django's handler with one pool of threads a process, and small ones for hashing and for Stripe.

    Django makes a thread for each request and joins it afterwards, and with it goes the thread's database connection.

    Attributes:
        under_way: the requests that have not got all of their answer yet.
    """

    under_way: ClassVar[set["asyncio.Task[None]"]] = set()

    threads = ThreadPoolExecutor(settings.THREADS, thread_name_prefix="django")
    hashing_threads = ThreadPoolExecutor(settings.HASHING_THREADS, thread_name_prefix="hashing")
    stripe_threads = ThreadPoolExecutor(settings.STRIPE_THREADS, thread_name_prefix="stripe")
    webhook_threads = ThreadPoolExecutor(settings.STRIPE_THREADS, thread_name_prefix="webhook")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Daphne cancels what it called as soon as it is asked to stop; within the grace the request goes on."""
        loop.adopt()
        task = asyncio.ensure_future(self._answer(scope, receive, send))
        self.under_way.add(task)
        task.add_done_callback(self.under_way.discard)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if not executors.is_leaving():
                task.cancel()
            raise

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer in the contract's form also where Django fails outside its own error handling, as in a signal."""
        came, begun = time.perf_counter(), False

        async def noting(message: Any) -> None:
            nonlocal begun
            begun = True
            await self._parting(send)(message)

        try:
            async with ThreadSensitiveContext(executor=self._threads_for(scope["method"], scope["path"])):
                await self.handle(scope, receive, noting)
        except Exception as e:
            if begun:
                raise
            await self.send_response(unframed.answer(scope, e, time.perf_counter() - came), self._parting(send))

    def create_request(self, scope: Any, body_file: Any) -> tuple[Any, Any]:
        """Refuse what cannot be a request in the contract's form."""
        request, refusal = super().create_request(scope, body_file)
        if refusal is not None:
            error = PayloadTooLarge() if refusal.status_code == PayloadTooLarge.status else BadRequest()
            refusal = unframed.answer(scope, error, 0.0)
        return request, refusal

    def _parting(self, send: Any) -> Any:
        """A `send` that asks, once this process is leaving, that nobody ask again on the same connection."""

        async def sending(message: Any) -> None:
            if executors.is_leaving() and message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"Connection", b"close")]}
            await send(message)

        return sending

    def _threads_for(self, method: str, path: str) -> ThreadPoolExecutor:
        if method in ("POST", "DELETE") and HASHES_PASSWORDS.match(path):
            return self.hashing_threads
        if path == STRIPE_TELLS:
            return self.webhook_threads
        return self.stripe_threads if ASKS_STRIPE.match(path) else self.threads


def leave() -> "Deferred[None]":
    """What Daphne waits for before it stops; whoever connects meanwhile is to find another process, not a dying one."""
    executors.begin_to_leave()
    for port in cast(Any, reactor).getReaders():
        if isinstance(port, Port):
            cast(Any, port).doRead()  # whoever is in the queue of the socket would be reset with it
            cast(Any, port).stopListening()
    return Deferred.fromFuture(asyncio.ensure_future(_ended(settings.STOP_GRACE_S)))


async def _ended(grace_s: float) -> None:
    """Within the grace let all requests end, those that follow a worker's chain too, and all runs of this process."""
    deadline = time.monotonic() + grace_s
    await asyncio.sleep(min(LINGER_S, grace_s))
    while SharedThreadsHandler.under_way and time.monotonic() < deadline:
        await asyncio.wait(set(SharedThreadsHandler.under_way), timeout=deadline - time.monotonic())
    await executors.leave(max(0.0, deadline - time.monotonic()))


cast(Any, reactor).addSystemEventTrigger("before", "shutdown", leave)
application = ProtocolTypeRouter({"http": SharedThreadsHandler(), "websocket": sockets})
