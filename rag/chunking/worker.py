"""The worker process that chunks files."""

# Grammars are C code: a file at which a grammar aborts or hangs must not end a process that serves requests.
# `rag.chunking.pool` starts the worker and exchanges JSON with it over a socket. The worker has no secrets and no
# database; the worker ends when the other end of the socket is closed.

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
MAX_ADDRESS_SPACE_BYTES = 2**29  # the longest file takes a fifth of it


def main(descriptor: str, tokenizer: str) -> None:
    """Serve requests until the other end of the socket is closed."""
    settings.configure(EMBEDDINGS_TOKENIZER=tokenizer)
    resource.setrlimit(resource.RLIMIT_AS, (MAX_ADDRESS_SPACE_BYTES, MAX_ADDRESS_SPACE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold a user's code
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
    # Return the chunks of a file as JSON; `null` if the chunker raises.
    # The kernel ends the process after `cpu_s`, even inside C code.
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    try:
        return json.dumps([astuple(chunk) for chunk in _chunker(language, window).chunk(content)]).encode()
    except Exception:
        traceback.print_exc(limit=-5)  # a recursion error has a thousand lines
        return b"null"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


@cache
def _chunker(language: str, window: int) -> Chunker:
    return Chunker(language, window)


if __name__ == "__main__":
    main(*sys.argv[1:])
