"""lunaos.api.streaming.backpressure: `send` waits for its client, and drops a client that reads nothing."""

import asyncio
from functools import partial
from typing import Any

import pytest

from lunaos.api.streaming.backpressure import BackpressureSend

MORE = {"type": "http.response.body", "body": b"x", "more_body": True}
LAST = {"type": "http.response.body"}


class Connection:
    """Daphne's side of a connection, whose buffer a test fills and empties."""

    def __init__(self) -> None:
        self.channel = self.transport = self
        self.producer: Any = None
        self.sent: list[Any] = []
        self.full = self.aborted = False

    def registerProducer(self, producer: Any, streaming: bool) -> None:  # noqa: N802 - Twisted's name
        assert self.producer is None and streaming
        self.producer = producer

    def unregisterProducer(self) -> None:  # noqa: N802 - Twisted's name
        self.producer = None

    def abortConnection(self) -> None:  # noqa: N802 - Twisted's name
        self.aborted = True

    async def reply(self, protocol: Any, message: Any) -> None:
        self.sent.append(message)
        if self.full and self.producer:
            self.producer.pauseProducing()


def make_send(connection: Connection, stall_s: float = 60) -> BackpressureSend:
    return BackpressureSend(partial(connection.reply, connection), stall_s)


def test_it_waits_for_the_client() -> None:
    async def test() -> None:
        connection = Connection()
        send, connection.full = make_send(connection), True
        sending = asyncio.create_task(send(MORE))
        await asyncio.sleep(0)
        assert connection.sent == [MORE] and not sending.done()
        connection.full = False
        connection.producer.resumeProducing()
        await sending
        await send(MORE)
        await send(LAST)
        assert connection.producer is None and not connection.aborted and not send.dropped

    asyncio.run(test())


def test_a_client_that_reads_nothing_is_dropped() -> None:
    async def test() -> None:
        connection = Connection()
        send, connection.full = make_send(connection, stall_s=0.01), True
        with pytest.raises(asyncio.CancelledError):
            await send(MORE)
        assert connection.aborted and send.dropped

    asyncio.run(test())


def test_a_client_that_disconnects_is_not_dropped() -> None:
    async def test() -> None:
        connection = Connection()
        send, connection.full = make_send(connection), True
        sending = asyncio.create_task(send(MORE))
        await asyncio.sleep(0)
        connection.producer.stopProducing()
        await sending
        assert not connection.aborted and not send.dropped

    asyncio.run(test())


def test_an_ended_access_shortens_the_wait(monkeypatch: Any) -> None:
    monkeypatch.setattr("lunaos.api.streaming.backpressure.REFUSED_CLIENT_TIMEOUT_S", 0.0)

    async def test() -> None:
        connection = Connection()
        send, connection.full = make_send(connection), True
        sending = asyncio.create_task(send(MORE))
        await asyncio.sleep(0)
        send.shorten_timeout()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert send.dropped

    asyncio.run(test())


def test_an_answer_in_one_piece_needs_no_producer() -> None:
    async def test() -> None:
        connection = Connection()
        connection.full = True
        await make_send(connection)(LAST)
        assert connection.sent == [LAST]

    asyncio.run(test())


def test_other_servers_get_no_backpressure() -> None:
    async def test() -> None:
        sent: list[Any] = []

        async def reply(message: Any) -> None:
            sent.append(message)

        await BackpressureSend(reply, 60)(MORE)
        assert sent == [MORE]

    asyncio.run(test())
