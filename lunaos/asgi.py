"""ASGI entry point: Daphne serves this."""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import django
from asgiref.sync import ThreadSensitiveContext
from channels.routing import ProtocolTypeRouter
from django.core.handlers.asgi import ASGIHandler

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "lunaos.settings")
django.setup(set_prefix=False)

from django.conf import settings  # noqa: E402 - readable only after setup


class SharedThreadsHandler(ASGIHandler):
    """Django's handler with one pool of threads a process.

    Django makes a thread for each request and joins it afterwards, and with it goes the thread's database connection.
    """

    threads = ThreadPoolExecutor(settings.THREADS, thread_name_prefix="django")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async with ThreadSensitiveContext(executor=self.threads):
            await self.handle(scope, receive, send)


application = ProtocolTypeRouter({"http": SharedThreadsHandler()})
