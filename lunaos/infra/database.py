"""Database calls from the event loop."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, copy_context
from functools import partial
from typing import Any, TypeVar

from django.conf import settings
from django.db import InterfaceError, OperationalError, close_old_connections

Result = TypeVar("Result")

# Raised when the server is unreachable, hangs, is full or refuses writes (lunaos.infra.postgresql.base).
OUTAGES = (OperationalError, InterfaceError)
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0

# A database that hangs would otherwise occupy the threads that the loop needs for everything else.
_threads = ThreadPoolExecutor(settings.THREADS, thread_name_prefix="database")


async def call(function: Callable[..., Result], *args: Any, patience_s: float = 0.0, **kwargs: Any) -> Result:
    """Call a function that uses the database in a thread, which outlives the request."""
    # A function that is safe to repeat is retried for `patience_s` seconds during an outage.
    # Leaner than `channels.db.database_sync_to_async`, which also carries context variables back.
    in_thread = partial(_with_connection, copy_context(), partial(function, *args, **kwargs))
    loop = asyncio.get_running_loop()
    deadline, pause_s = time.monotonic() + patience_s, FIRST_PAUSE_S
    while True:
        try:
            return await asyncio.shield(loop.run_in_executor(_threads, in_thread))
        except OUTAGES:
            if time.monotonic() + pause_s > deadline:
                raise
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def _with_connection(context: Context, function: Callable[[], Result]) -> Result:
    close_old_connections()
    try:
        return context.run(function)
    finally:
        close_old_connections()
