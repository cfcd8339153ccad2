"""lunaos.infra.pubsub: subscriptions share a connection, and renew it."""

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from lunaos.embedded import servers
from lunaos.embedded.home import Home
from lunaos.embedded.supervisor import Supervisor
from lunaos.infra import pubsub, redis

Restart = Callable[[], None]


@pytest.fixture
def own_valkey(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Restart]:
    """Start a Valkey for one test; yield a function that restarts it."""
    program, settings.REDIS_URL = servers.valkey(Home(tmp_path / "h"), durable=False)
    supervisor = Supervisor(dict(os.environ), print_line=lambda line: None)
    supervisor.start(program)
    redis.client.cache_clear()

    def restart() -> None:
        supervisor.stop()
        supervisor.start(program)

    yield restart
    supervisor.stop()
    redis.client.cache_clear()


def play(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine on a new loop, and close the loop's connections."""

    async def run() -> None:
        try:
            await asyncio.wait_for(coroutine, 20)
        finally:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await redis.async_client().aclose()
            await redis.async_client().connection_pool.disconnect()

    asyncio.run(run())


class Ear:
    """A subscriber that records messages."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self._news = asyncio.Event()

    def __call__(self, message: bytes) -> None:
        self.heard.append(message)
        self._news.set()

    async def until(self, message: bytes) -> None:
        while message not in self.heard:
            self._news.clear()
            await self._news.wait()


async def say_until_heard(channel: str, message: bytes, *ears: Ear) -> None:
    """Publish until all subscribers have a message: earlier messages are lost."""
    while not all(message in ear.heard for ear in ears):
        await redis.async_client().publish(channel, message)
        await asyncio.sleep(0.01)


def test_all_subscribers_get_a_message(own_valkey: Restart) -> None:
    async def run() -> None:
        one, two, other = Ear(), Ear(), Ear()
        for channel, ear in (("a", one), ("a", two), ("b", other)):
            pubsub.subscribe(channel, ear)
        await say_until_heard("a", b"news", one, two)
        assert b"news" not in other.heard

    play(run())


def test_a_new_subscription_gets_an_empty_message(own_valkey: Restart) -> None:
    async def run() -> None:
        ear = Ear()
        pubsub.subscribe("a", ear)
        await ear.until(b"")

    play(run())


def test_a_subscription_during_the_connect_is_kept(own_valkey: Restart) -> None:
    async def run() -> None:
        first = Ear()
        pubsub.subscribe("first", first)
        ears = []
        for n in range(50):  # on each turn of the loop while the hub subscribes
            ears.append(Ear())
            pubsub.subscribe(f"c{n}", ears[-1])
            await asyncio.sleep(0)
        for n, ear in enumerate(ears):
            await say_until_heard(f"c{n}", b"news", ear)

    play(run())


def test_it_subscribes_again_after_a_restart(own_valkey: Restart) -> None:
    async def run() -> None:
        ear = Ear()
        pubsub.subscribe("a", ear)
        await ear.until(b"")
        ear.heard.clear()
        await asyncio.to_thread(own_valkey)
        await ear.until(b"")  # what was said meanwhile has been missed
        await redis.async_client().publish("a", b"news")
        await ear.until(b"news")

    play(run())


def test_a_silent_server_is_pinged(own_valkey: Restart, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pubsub, "PING_AFTER_S", 0.05)

    async def run() -> None:
        ear = Ear()
        pubsub.subscribe("a", ear)
        await ear.until(b"")
        ear.heard.clear()
        await asyncio.sleep(0.5)  # some pings
        await redis.async_client().publish("a", b"news")
        await ear.until(b"news")
        assert ear.heard == [b"news"]  # it was never taken for broken

    play(run())


def test_a_closed_subscription_is_unsubscribed(own_valkey: Restart) -> None:
    async def run() -> None:
        ear, other = Ear(), Ear()
        stop = pubsub.subscribe("a", ear)
        stop_other = pubsub.subscribe("a", other)
        await say_until_heard("a", b"one", ear, other)
        stop()
        await redis.async_client().publish("a", b"two")
        await other.until(b"two")
        assert b"two" not in ear.heard
        stop_other()
        while dict(await redis.async_client().pubsub_numsub("a"))[b"a"]:
            await asyncio.sleep(0.01)

    play(run())
