"""Notices between processes over Valkey's publish/subscribe."""

# A message may be lost, so it only wakes its subscribers; the facts that it announces are stored elsewhere.

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Coroutine
from typing import Any
from weakref import WeakKeyDictionary

from django.conf import settings
from redis.asyncio.client import PubSub

from lunaos.infra import event_loop
from lunaos.infra.redis import AsyncRedis, RedisError, async_client, async_event_log

Callback = Callable[[bytes], None]

RECONNECT_AFTER_S = 0.5
PING_AFTER_S = 10.0
_IDLE = "lunaos:idle"  # a subscription needs at least one channel
logger = logging.getLogger(__name__)


class Hub:
    """All subscriptions of an event loop at one server, over one connection."""

    def __init__(self, connect: Callable[[], AsyncRedis] = async_client) -> None:
        self._connect = connect
        self._callbacks: defaultdict[str, list[Callback]] = defaultdict(list)
        self._pubsub: PubSub | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._spawn(self._receive())

    def subscribe(self, channel: str, callback: Callback) -> Callable[[], None]:
        """Call `callback` with each message, with `b""` after a gap; return how to stop."""
        if channel not in self._callbacks and self._pubsub:
            self._spawn(self._subscribe(self._pubsub, channel))
        self._callbacks[channel].append(callback)

        def stop() -> None:
            self._callbacks[channel].remove(callback)
            if not self._callbacks[channel]:
                del self._callbacks[channel]
                if self._pubsub:
                    self._spawn(self._unsubscribe(self._pubsub, channel))

        return stop

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = event_loop.create_background_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _subscribe(self, pubsub: PubSub, channel: str) -> None:
        try:
            await pubsub.subscribe(channel)
        except (RedisError, OSError):
            pass  # the receiver notices the broken connection as well and subscribes to every channel again

    async def _unsubscribe(self, pubsub: PubSub, channel: str) -> None:
        try:
            if channel not in self._callbacks:
                await pubsub.unsubscribe(channel)
        except (RedisError, OSError):
            pass

    async def _receive(self) -> None:
        while True:
            try:
                async with self._connect().pubsub() as pubsub:
                    known = [_IDLE, *self._callbacks]
                    await pubsub.subscribe(*known)
                    self._pubsub = pubsub
                    if late := self._callbacks.keys() - known:
                        await pubsub.subscribe(*late)
                    await self._dispatch_all(pubsub)
            except (RedisError, OSError) as e:
                logger.warning("The connection for notices from Valkey failed: %s", e)
            finally:
                self._pubsub = None
            await asyncio.sleep(RECONNECT_AFTER_S)

    async def _dispatch_all(self, pubsub: PubSub) -> None:
        # A ping finds a connection that broke without an error.
        pinged = False
        while True:
            message = await pubsub.get_message(timeout=PING_AFTER_S)
            if message is None and pinged:
                raise RedisError("no answer to a ping")
            if message is None:
                await pubsub.ping()
            pinged = message is None
            self._dispatch(message)

    def _dispatch(self, message: dict[str, bytes | str | int] | None) -> None:
        # A confirmed subscription counts as a message: earlier messages may have been missed.
        if message is None or message["type"] not in ("message", "subscribe"):
            return
        channel, data = message["channel"], message["data"]
        for callback in list(self._callbacks.get(channel.decode() if isinstance(channel, bytes) else str(channel), ())):
            callback(data if isinstance(data, bytes) else b"")


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Hub]] = WeakKeyDictionary()


def subscribe(channel: str, callback: Callback, *, event_log: bool = False) -> Callable[[], None]:
    """Subscribe on the running loop to a channel; `event_log` names another server."""
    url, connect = settings.REDIS_URL, async_client
    if event_log and url != settings.EVENT_LOG_REDIS_URL:
        url, connect = settings.EVENT_LOG_REDIS_URL, async_event_log
    hubs = _hubs.setdefault(asyncio.get_running_loop(), {})
    if url not in hubs:
        hubs[url] = Hub(connect)
    return hubs[url].subscribe(channel, callback)
