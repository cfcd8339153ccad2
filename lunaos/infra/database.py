"""Database calls from the event loop."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from channels.db import database_sync_to_async
from django.conf import settings
from django.db import InterfaceError, OperationalError

Result = TypeVar("Result")

# Raised when the server is unreachable, hangs, is full or refuses writes (lunaos.infra.postgresql.base).
OUTAGES = (OperationalError, InterfaceError)
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0

# A database that hangs would otherwise occupy the threads that the loop needs for everything else.
_threads = ThreadPoolExecutor(settings.THREADS, thread_name_prefix="database")


async def call(function: Callable[..., Result], *args: Any, patience_s: float = 0.0, **kwargs: Any) -> Result:
    """Call a function that uses the database in a thread, which outlives the request."""
    # A function that is safe to repeat is retried for `patience_s` seconds during an outage.
    in_thread = database_sync_to_async(function, thread_sensitive=False, executor=_threads)
    deadline, pause_s = time.monotonic() + patience_s, FIRST_PAUSE_S
    while True:
        try:
            return await in_thread(*args, **kwargs)
        except OUTAGES:
            if time.monotonic() + pause_s > deadline:
                raise
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
