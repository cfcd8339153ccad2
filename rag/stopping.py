"""A request to stop this worker: an unfinished index job goes back to the queue, so that the exit does not wait."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from typing import TypeVar

Result = TypeVar("Result")
POLL_INTERVAL_S = 0.2
_requested = threading.Event()


class WorkerStopping(Exception):
    """This worker must stop."""

    # Written files stay done, and another worker continues the job.


def request() -> None:
    """Make the jobs of this process stop at their next file or request to the model."""
    _requested.set()


def is_requested() -> bool:
    """Return whether this process must stop."""
    return _requested.is_set()


def raise_if_requested() -> None:
    """Raise WorkerStopping if this process must stop."""
    if _requested.is_set():
        raise WorkerStopping


def call_interruptibly(function: Callable[[], Result]) -> Result:
    """Call a function that may block for long, until this process must stop.

    Raises:
        WorkerStopping: this process must stop; the function's result is lost.
    """
    raise_if_requested()
    outcome, context = Future[Result](), copy_context()

    def work() -> None:
        try:
            outcome.set_result(context.run(function))
        except BaseException as e:
            outcome.set_exception(e)

    # The interpreter's exit does not wait for a daemon thread.
    threading.Thread(target=work, name="interruptible", daemon=True).start()
    while True:
        try:
            return outcome.result(POLL_INTERVAL_S)
        except TimeoutError:
            if outcome.done():  # the function itself raised TimeoutError, or ended meanwhile
                return outcome.result()
            raise_if_requested()
