"""The database, from the event loop."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from channels.db import database_sync_to_async
from django.conf import settings
from django.db import InterfaceError, OperationalError

Result = TypeVar("Result")

# What an outage raises: the server is away, hangs, is full or refuses writes (lunaos.infra.postgresql.base).
AWAY = (OperationalError, InterfaceError)
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0

# Of their own, since a database that hangs would take those that the loop needs for all else.
_threads = ThreadPoolExecutor(settings.THREADS, thread_name_prefix="database")


async def call(function: Callable[..., Result], *args: Any, patience_s: float = 0.0, **kwargs: Any) -> Result:
    """Call a function that uses the database, in a thread; it may outlive the request.

    Args:
        patience_s: for so long a database that cannot be reached is tried again; the function must bear repetition.

    Raises:
        OperationalError, InterfaceError: it stayed out of reach.
    """
    in_thread = database_sync_to_async(function, thread_sensitive=False, executor=_threads)
    deadline, pause_s = time.monotonic() + patience_s, FIRST_PAUSE_S
    while True:
        try:
            return await in_thread(*args, **kwargs)
        except AWAY:
            if time.monotonic() + pause_s > deadline:
                raise
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
