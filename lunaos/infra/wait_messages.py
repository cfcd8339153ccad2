"""Lines for a person who waits: what is waited for, again and again until it is there."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EVERY_S = 10.0
PREFIX = "  waiting for "


@contextmanager
def told(say: Callable[[str], None], what: Callable[[], str]) -> Iterator[None]:
    """While the block runs, say every EVERY_S what is waited for.

    Args:
        say: prints one line; called in another thread.
        what: names it; asked anew for each line.
    """
    done, started = threading.Event(), time.monotonic()

    def tell() -> None:
        while not done.wait(EVERY_S):
            say(f"{PREFIX}{what()} ({time.monotonic() - started:.0f} s)")

    thread = threading.Thread(target=tell, name="waiting", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
