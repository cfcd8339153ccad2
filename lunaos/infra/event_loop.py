"""The process's event loop: Daphne's own in a web process, one in a thread of its own in a worker or a command."""

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
    """Take the running loop for the process's."""
    global _loop
    _loop = asyncio.get_running_loop()


def get() -> asyncio.AbstractEventLoop:
    """The process's loop; started where nobody has adopted one."""
    global _loop
    with _lock:
        if _loop is None or _loop.is_closed():
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="event-loop", daemon=True).start()
        return _loop


def keep_running(coroutine: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
    """Start what outlives the request that happens to need it first, and so must not carry its id into the logs."""
    return asyncio.create_task(coroutine, context=Context())


def submit(coroutine: Coroutine[Any, Any, Result]) -> "Future[Result]":
    """Run a coroutine on the process's loop, from any other thread; it goes on whoever waits for it."""
    return asyncio.run_coroutine_threadsafe(coroutine, get())
