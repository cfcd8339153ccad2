"""The event loop of a process: Daphne's in a web process, else one in a thread."""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from contextvars import Context
from typing import Any, TypeVar

Result = TypeVar("Result")

_loop: asyncio.AbstractEventLoop | None = None
_lock = threading.Lock()


def adopt() -> None:
    """Make the running loop the loop of the process."""
    global _loop
    _loop = asyncio.get_running_loop()


def get() -> asyncio.AbstractEventLoop:
    """Return the loop of the process; start one where none was adopted."""
    global _loop
    with _lock:
        if _loop is None or _loop.is_closed():
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="event-loop", daemon=True).start()
        return _loop


def create_background_task(coroutine: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
    """Start a task that may outlive the request that starts it."""
    # A context of its own keeps that request's id out of the task's log lines.
    return asyncio.create_task(coroutine, context=Context())


def submit(coroutine: Coroutine[Any, Any, Result]) -> "Future[Result]":
    """Run a coroutine on the loop of the process, from another thread."""
    # The coroutine goes on if the caller stops waiting for the result.
    return asyncio.run_coroutine_threadsafe(coroutine, get())
