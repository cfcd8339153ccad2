import asyncio
import os
import signal
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from aiohttp import web
from django.core.management.base import BaseCommand, CommandError

from tools.stripe_double.api import LIVE_KEY
from tools.stripe_double.server import application


class Command(BaseCommand):
    help = "Serve a double of Stripe on the loopback, without an account or money. Refuses to start beside a live key."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=12111)
        parser.add_argument("--webhook-url", default="http://127.0.0.1:8000/billing/webhook")
        parser.add_argument("--webhook-secret", required=True, help="the secret that signs the events, as whsec_…")
        parser.add_argument("--state", type=Path, help="a file that keeps all objects across restarts")

    def handle(self, *args: Any, **options: Any) -> None:
        if LIVE_KEY.match(os.environ.get("STRIPE_SECRET_KEY", "")):
            raise CommandError("STRIPE_SECRET_KEY is a live key. Unset it before you start the double.")
        asyncio.run(self._serve(**options))

    async def _serve(
        self, *, port: int, webhook_url: str, webhook_secret: str, state: Path | None, **_: object
    ) -> None:
        stopped = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        app = application(webhook_url=webhook_url, webhook_secret=webhook_secret, state=state)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        self.stdout.write(f"Double of Stripe ready on http://127.0.0.1:{port}")
        self.stdout.flush()
        await stopped.wait()
        await runner.cleanup()
