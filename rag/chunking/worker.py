"""The program that cuts: grammars are C code, and a file at which one aborts or hangs must not end what serves.

`rag.chunking.pool` starts it, speaks JSON with it over a socket, and takes its end for the file's fault. It knows no
secret, has no database, and ends with whoever holds the other end of the socket.
"""

import json
import resource
import signal
import sys
import traceback
from dataclasses import astuple
from functools import cache
from multiprocessing.connection import Connection

from django.conf import settings

from rag.chunking.chunker import Chunker

READY = b"ready"
MAX_ADDRESS_SPACE_BYTES = 2**29  # bytes of addresses; it takes a fifth of them for the longest file


def main(descriptor: str, tokenizer: str) -> None:
    """Answer until nobody asks any more.

    Args:
        descriptor: of the socket.
        tokenizer: as the setting EMBEDDINGS_TOKENIZER.
    """
    settings.configure(EMBEDDINGS_TOKENIZER=tokenizer)
    resource.setrlimit(resource.RLIMIT_AS, (MAX_ADDRESS_SPACE_BYTES, MAX_ADDRESS_SPACE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # what it dies of is somebody's code
    with Connection(int(descriptor)) as connection:
        connection.send_bytes(READY)
        while request := _receive(connection):
            connection.send_bytes(_handle(*json.loads(request)))


def _receive(connection: Connection) -> bytes:
    try:
        return connection.recv_bytes()
    except EOFError:
        return b""


def _handle(language: str, window: int, content: str, cpu_s: float) -> bytes:
    """The pieces; `null` where our own code fails at them. The kernel ends what takes too long, C code too."""
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    try:
        return json.dumps([astuple(chunk) for chunk in _chunker(language, window).chunk(content)]).encode()
    except Exception:
        traceback.print_exc(limit=-5)  # of a recursion a thousand lines would say no more
        return b"null"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


@cache
def _chunker(language: str, window: int) -> Chunker:
    return Chunker(language, window)


if __name__ == "__main__":
    main(*sys.argv[1:])
