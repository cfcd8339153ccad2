"""Back-pressure: what a client does not read is not produced, and a client that reads nothing is dropped.

Daphne writes all that an application sends into the buffer of the connection. Its connections are Twisted transports,
which pause and resume a registered producer (twisted.internet.interfaces.IPushProducer); `Flow` is that producer.
"""

import asyncio
import logging
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Any

HURRY_S = 1.0  # for a last event to a client that may not read any more
logger = logging.getLogger(__name__)


class Flow:
    """An ASGI `send` that waits while the connection's buffer is full.

    Args:
        send: Daphne's; that of any other server is called as it is.
        stall_s: a client that leaves the buffer full for so long is dropped.

    Attributes:
        dropped: whether the client was dropped, which is not the same as a client that leaves.
    """

    def __init__(self, send: Any, stall_s: float) -> None:
        self._send, self._stall_s = send, stall_s
        self._protocol: Any = send.args[0] if isinstance(send, partial) else None
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._waiting: asyncio.Timeout | None = None
        self._registered = self.dropped = False

    async def __call__(self, message: Any) -> None:
        """Send, and return when the client has room for more.

        Raises:
            CancelledError: the client was dropped; as when it has left, there is nothing more to do.
        """
        self._register(message)
        await self._send(message)
        if self._registered and not self._flowing.is_set():
            await self._room()

    def hurry(self) -> None:
        """Wait for the client no longer than a moment from now on."""
        self._stall_s = min(self._stall_s, HURRY_S)
        if self._waiting:
            self._waiting.reschedule(asyncio.get_running_loop().time() + self._stall_s)

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted's name
        self._flowing.clear()

    def resumeProducing(self) -> None:  # noqa: N802 - Twisted's name
        self._flowing.set()

    def stopProducing(self) -> None:  # noqa: N802 - Twisted's name
        """The connection is lost; the server says so in a message of its own."""
        self._flowing.set()

    async def _room(self) -> None:
        try:
            async with asyncio.timeout(self._stall_s) as self._waiting:
                await self._flowing.wait()
        except TimeoutError:
            self.dropped = True
            logger.info("A client has read nothing for %s s; its connection is dropped", self._stall_s)
            self._protocol.transport.abortConnection()
            raise asyncio.CancelledError from None
        finally:
            self._waiting = None

    def _register(self, message: Any) -> None:
        """Be the producer while there is more to come; an HTTP connection may serve another request afterwards."""
        more = message.get("more_body", False)
        if self._protocol is None:
            return
        if message["type"] == "websocket.send" and not self._registered:
            self._protocol.transport.unregisterProducer()  # the channel of HTTP, which the socket began as
            self._protocol.transport.registerProducer(self, True)
            self._registered = True
        elif message["type"] == "http.response.body" and more != self._registered and self._protocol.channel:
            self._protocol.registerProducer(self, True) if more else self._protocol.unregisterProducer()
            self._registered = more


current: ContextVar[Flow | None] = ContextVar("flow", default=None)


def on_refusal() -> Callable[[], None]:
    """Return what to call, from any context, when the client that is being answered may read no more."""
    flow = current.get()
    return flow.hurry if flow else lambda: None


def dropped() -> bool:
    """Return whether the client that is being answered was dropped."""
    flow = current.get()
    return flow is not None and flow.dropped
