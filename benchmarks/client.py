"""A lean HTTP/1.1 client for streams."""

import asyncio
import time
from dataclasses import dataclass

# On two cores the load must not cost more than the platform that it measures.
FIRST = b'"type":"chunk"'
LAST = b"0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream of a client: seconds to the first chunk and to the end, and bytes."""

    first_s: float
    total_s: float
    body: bytes

    @property
    def complete(self) -> bool:
        return b'"type":"done"' in self.body or b'"type":"chain_done"' in self.body


class Connection:
    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> "Connection":
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=2**22)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def post(self, path: str, token: str, body: bytes, first: bytes = FIRST) -> Stream:
        """Send a request and read its chunked response to the end."""
        head = b"POST %b HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: %d" % (path.encode(), len(body))
        return await self._send(head, token, body, first)

    async def resume(self, run_id: str, token: str, after: int) -> Stream:
        head = b"GET /runs/%b/events HTTP/1.1\r\nLast-Event-ID: %d" % (run_id.encode(), after)
        return await self._send(head, token, b"", b"data: ")

    async def _send(self, head: bytes, token: str, body: bytes, first: bytes) -> Stream:
        started, first_s, received = time.perf_counter(), 0.0, b""
        self._writer.write(
            b"%b\r\nHost: localhost\r\nAuthorization: Bearer %b\r\n\r\n%b" % (head, token.encode(), body)
        )
        while not received.endswith(LAST):
            data = await self._reader.read(2**18)
            if not data:
                break
            received += data
            if not first_s and first in received:
                first_s = time.perf_counter() - started
        return Stream(first_s, time.perf_counter() - started, received)
