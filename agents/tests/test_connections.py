"""Connections that break in the middle of an answer, from a server that speaks bytes."""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest

from agents.providers import Provider, Target, bodies, connections, openai_compatible
from agents.providers.errors import ProviderFailed
from agents.providers.openai_compatible import Prompt
from agents.providers.reply import Attempt
from testing.loopback.upstream import DONE, delta, usage

HEADERS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
PROMPT = Prompt([{"role": "user", "content": "x"}], 0.2, 100)
END = delta("", "stop") + usage(11, 7) + DONE

Play = Callable[[socket.socket], None]


def chunk(raw: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(raw), raw)


def reset(connection: socket.socket) -> None:
    """Close with RST (socket(7), SO_LINGER of 0 s)."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@contextmanager
def server(play: Play) -> Iterator[Attempt]:
    """Return an attempt at a server that plays this to each connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65_536)
                    play(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        provider = Provider("deepseek", f"http://127.0.0.1:{listening.getsockname()[1]}/v1", "key")
        yield Attempt(Target(provider, "deepseek-chat"))
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def read(attempt: Attempt, between: Callable[[], Any] = lambda: None) -> str:
    """Return the text of an answer; `between` is called once, when the first of it is there."""

    async def go() -> str:
        texts: list[str] = []
        try:
            async for block in openai_compatible.stream(attempt, PROMPT, queue_s=30):
                if block.texts and not texts:
                    between()
                texts += block.texts
        finally:
            await connections.close_all()
        return "".join(texts)

    return asyncio.run(go())


def test_it_works() -> None:
    with server(lambda connection: connection.sendall(HEADERS + chunk(delta("Hello") + END) + b"0\r\n\r\n")) as attempt:
        assert read(attempt) == "Hello"
    assert attempt.sent and attempt.reply.complete


def test_text_that_came_before_a_reset_is_read() -> None:
    """The reader is busy while the rest of the answer and the reset arrive, as in a process with much to do."""
    go_on, sent = threading.Event(), threading.Event()

    def play(connection: socket.socket) -> None:
        connection.sendall(HEADERS + chunk(delta("Hello ")))
        go_on.wait(5)
        connection.sendall(chunk(delta("world") + END))
        reset(connection)
        sent.set()

    def busy() -> None:
        go_on.set()
        sent.wait(5)

    with server(play) as attempt:
        assert read(attempt, busy) == "Hello world"


@pytest.mark.parametrize("broken", [b"zz\r\n", b"5\r\nabcdefgh"])
def test_broken_framing_ends_the_answer_at_once(broken: bytes) -> None:
    """And not after the time that a silent provider is given, which would be another error."""
    go_on, done = threading.Event(), threading.Event()

    def play(connection: socket.socket) -> None:
        connection.sendall(HEADERS + chunk(delta("Hello")))
        go_on.wait(5)
        connection.sendall(broken)
        done.wait(10)

    with server(play) as attempt:
        with pytest.raises(ProviderFailed) as failed:
            read(attempt, go_on.set)
        done.set()
    assert failed.value.code == "provider_error"
    assert attempt.reply.has_text


def test_an_invalid_status_line_is_a_provider_error() -> None:
    def play(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 400 B\x00d \xff\r\nContent-Length: 0\r\n\r\n")

    with server(play) as attempt, pytest.raises(ProviderFailed):
        read(attempt)


def test_a_connection_closed_before_the_read_ends_the_body() -> None:
    """In that case aiohttp raises a RuntimeError, which would end the run as an unexpected error."""

    async def closed(_: int) -> bytes:
        raise RuntimeError("Connection closed.")

    async def go() -> list[bytes]:
        content = SimpleNamespace(read=closed, _read_nowait=lambda _: b"the rest")
        answer = SimpleNamespace(content=content, connection=None, status=200, headers={})
        response = bodies.Response(cast(Any, answer))
        pieces = [await response.read()]
        with pytest.raises(aiohttp.ClientPayloadError, match="closed"):
            await response.read()
        return pieces

    assert asyncio.run(go()) == [b"the rest"]
