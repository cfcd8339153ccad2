"""A proxy that shows tests what clients receive, and breaks connections."""

import itertools
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

BreakCondition = Callable[[int, bytes], bool]


@contextmanager
def recording_proxy(server: str, watch: BreakCondition) -> Iterator[str]:
    """Forward bytes between clients and a server; yield the base URL for clients."""
    numbers = itertools.count(1)
    address = (urlsplit(server).hostname, urlsplit(server).port)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection(address) as behind:
                sender = threading.Thread(target=_copy, args=[self.request, behind, lambda _: False])
                sender.start()
                number = next(numbers)
                _copy(behind, self.request, lambda received: watch(number, received))
                sender.join()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as proxy:
        accepting = threading.Thread(target=proxy.serve_forever, args=[0.05])
        accepting.start()
        try:
            yield f"http://127.0.0.1:{proxy.server_address[1]}"
        finally:
            proxy.shutdown()
            accepting.join()


def _copy(source: socket.socket, target: socket.socket, is_enough: Callable[[bytes], bool]) -> None:
    """Copy until a side closes or `is_enough` returns True; then close both."""
    copied = b""
    with suppress(OSError):
        while data := source.recv(2**16):
            target.sendall(data)
            copied += data
            if is_enough(copied):
                break
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
