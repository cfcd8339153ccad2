"""The benchmarks' model provider: 50 chunks for each POST, or as its words ask."""

import asyncio
import sys

# "in full" asks for 10 000 chunks of 600 characters each, 6 MB in all.
CHUNKS, MANY, AT_LENGTH, IN_FULL = 50, 10_000, b"at length", b"in full"
PAUSES_S = {b"idly": 15, b"slowly": 1, b"steadily": 0.02}
DELTA = b'data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"chunk %d "}}]}\n\n'
END = (
    b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    b'data: {"choices":[],"usage":{"prompt_tokens":700,"completion_tokens":150}}\n\n'
    b"data: [DONE]\n\n"
)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def frame(data: bytes) -> bytes:
    """Encode a chunk of the transfer coding (RFC 9112, 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def at_once(chunks: int, padding: bytes = b"") -> bytes:
    """Build the response with all its chunks, each longer by the padding."""
    delta = DELTA.replace(b"chunk %d ", b"chunk %d " + padding)
    return HEAD + frame(b"".join(delta % n for n in range(chunks)) + END) + frame(b"")


AT_ONCE, LONG, HUGE = at_once(CHUNKS), at_once(MANY), at_once(MANY, b"x" * 600)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            body = await reader.readexactly(int(length.split(b":")[1]))
            pause_s = next((pause_s for word, pause_s in PAUSES_S.items() if word in body), 0)
            if not pause_s:
                writer.write(LONG if AT_LENGTH in body else HUGE if IN_FULL in body else AT_ONCE)
                continue
            writer.write(HEAD)
            for n in range(CHUNKS):
                writer.write(frame(DELTA % n))
                await asyncio.sleep(pause_s)
            writer.write(frame(END) + frame(b""))
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main() -> None:
    server = await asyncio.start_server(answer, "127.0.0.1", int(sys.argv[1]), backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
