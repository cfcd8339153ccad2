"""Back-pressure from slow clients; a client that reads nothing is dropped."""

# Daphne writes everything that an application sends into the connection's buffer. Its connections are Twisted
# transports, which pause and resume a registered producer (twisted.internet.interfaces.IPushProducer); `Flow` is that
# producer.

import asyncio
import logging
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Any

REFUSED_CLIENT_TIMEOUT_S = 1.0  # for the last event to a client whose access has ended
logger = logging.getLogger(__name__)


class BackpressureSend:
    """An ASGI `send` that waits while the connection's buffer is full."""

    # `send`: Daphne's `send`; another server's `send` gets no back-pressure. Attributes:     dropped: True if the
    # client was dropped, as opposed to a client that left.

    def __init__(self, send: Any, stall_s: float) -> None:
        self._send, self._stall_s = send, stall_s
        self._protocol: Any = send.args[0] if isinstance(send, partial) else None
        self._writable = asyncio.Event()
        self._writable.set()
        self._timeout: asyncio.Timeout | None = None
        self._registered = self.dropped = False

    async def __call__(self, message: Any) -> None:
        """Send, and wait until the buffer has room; may raise CancelledError."""
        self._register(message)
        await self._send(message)
        if self._registered and not self._writable.is_set():
            await self._wait_until_writable()

    def shorten_timeout(self) -> None:
        """Wait at most HURRY_S for the client from now on."""
        self._stall_s = min(self._stall_s, REFUSED_CLIENT_TIMEOUT_S)
        if self._timeout:
            self._timeout.reschedule(asyncio.get_running_loop().time() + self._stall_s)

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted's name
        self._writable.clear()

    def resumeProducing(self) -> None:  # noqa: N802 - Twisted's name
        self._writable.set()

    def stopProducing(self) -> None:  # noqa: N802 - Twisted's name
        """End the wait: the connection is lost, which the server reports in its own message."""
        self._writable.set()

    async def _wait_until_writable(self) -> None:
        try:
            async with asyncio.timeout(self._stall_s) as self._timeout:
                await self._writable.wait()
        except TimeoutError:
            self.dropped = True
            logger.info("A client read nothing for %s s; its connection was dropped", self._stall_s)
            self._protocol.transport.abortConnection()
            raise asyncio.CancelledError from None
        finally:
            self._timeout = None

    def _register(self, message: Any) -> None:
        # Register as producer while more is to come; the HTTP connection may serve another request later.
        more = message.get("more_body", False)
        if self._protocol is None:
            return
        if message["type"] == "websocket.send" and not self._registered:
            self._protocol.transport.unregisterProducer()  # the HTTP channel that the socket started as
            self._protocol.transport.registerProducer(self, True)
            self._registered = True
        elif message["type"] == "http.response.body" and more != self._registered and self._protocol.channel:
            self._protocol.registerProducer(self, True) if more else self._protocol.unregisterProducer()
            self._registered = more


current: ContextVar[BackpressureSend | None] = ContextVar("backpressure_send", default=None)


def get_timeout_shortener() -> Callable[[], None]:
    """Return a function that hurries the current client, to be called from any context."""
    sender = current.get()
    return sender.shorten_timeout if sender else lambda: None


def client_was_dropped() -> bool:
    """Return True if the current client was dropped."""
    sender = current.get()
    return sender is not None and sender.dropped
