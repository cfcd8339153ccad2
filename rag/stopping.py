"""Whether this worker has been asked to stop: an index job goes back to the queue instead of holding up the exit."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from typing import TypeVar

Result = TypeVar("Result")
POLL_S = 0.2
_asked = threading.Event()


class WorkerStops(Exception):
    """The worker has been asked to stop: what is written stays, and another worker goes on with the job."""


def ask() -> None:
    """Have the jobs of this process end at their next file or request to the model."""
    _asked.set()


def is_asked() -> bool:
    """Return whether this process has been asked to stop."""
    return _asked.is_set()


def require_time() -> None:
    """Raise WorkerStops where this process has been asked to stop."""
    if _asked.is_set():
        raise WorkerStops


def unless_asked(call: Callable[[], Result]) -> Result:
    """Call a function that may block for long, and leave it to itself when this process is asked to stop.

    The call runs in a daemon thread, for which the interpreter's exit does not wait.

    Raises:
        WorkerStops: the process has been asked to stop; the call's result is lost.
    """
    require_time()
    outcome, context = Future[Result](), copy_context()

    def work() -> None:
        try:
            outcome.set_result(context.run(call))
        except BaseException as e:
            outcome.set_exception(e)

    threading.Thread(target=work, name="interruptible", daemon=True).start()
    while True:
        try:
            return outcome.result(POLL_S)
        except TimeoutError:
            if outcome.done():
                raise
            require_time()
