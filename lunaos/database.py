"""The database, from the event loop."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, TypeVar

from channels.db import database_sync_to_async
from django.db import InterfaceError, OperationalError

Result = TypeVar("Result")

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0


async def call(function: Callable[..., Result], *args: Any, patience_s: float = 0.0, **kwargs: Any) -> Result:
    """Call a function that uses the database, in a thread; it may outlive the request.

    Args:
        patience_s: for so long a database that cannot be reached is tried again; the function must bear repetition.

    Raises:
        OperationalError, InterfaceError: it stayed out of reach.
    """
    in_thread = database_sync_to_async(function, thread_sensitive=False)
    deadline, pause_s = time.monotonic() + patience_s, FIRST_PAUSE_S
    while True:
        try:
            return await in_thread(*args, **kwargs)
        except (OperationalError, InterfaceError):
            if time.monotonic() + pause_s > deadline:
                raise
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
