import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

INTERVAL_S = 10.0
PREFIX = "  waiting for "


@contextmanager
def repeat_while_waiting(say: Callable[[str], None], what: Callable[[], str]) -> Iterator[None]:
    """While the block runs, say every INTERVAL_S what it waits for; in a thread."""
    done, started = threading.Event(), time.monotonic()

    def repeat() -> None:
        while not done.wait(INTERVAL_S):
            say(f"{PREFIX}{what()} ({time.monotonic() - started:.0f} s)")

    thread = threading.Thread(target=repeat, name="waiting", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
