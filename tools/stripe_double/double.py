"""The double in a thread of a test process, with its client."""

import asyncio
import threading
from collections.abc import Iterable
from pathlib import Path

from aiohttp import web

from tools.stripe_double import deliveries
from tools.stripe_double.server import application
from tools.stripe_double.test_client import DoubleClient

START_TIMEOUT_S = 10
TEST_RETRY_DELAYS_S = (0.0, 0.05, 0.1, 0.2, 0.4)


class Double(DoubleClient):
    """Runs the application of `manage.py fake_stripe` on a free loopback port.

    Args:
        webhook_url: receives the events; None stores them until a test delivers them.
        state: the file that keeps the objects.
    """

    def __init__(
        self,
        webhook_secret: str,
        *,
        webhook_url: str | None = None,
        state: Path | None = None,
        event_types: Iterable[str] = deliveries.DEFAULT_EVENT_TYPES,
        retry_delays_s: Iterable[float] = TEST_RETRY_DELAYS_S,
    ) -> None:
        self.webhook_secret = webhook_secret
        self.webhook_url = webhook_url
        self.state = state
        self.event_types = event_types
        self.retry_delays_s = retry_delays_s
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> "Double":
        self._thread.start()
        if not self._ready.wait(START_TIMEOUT_S):
            raise RuntimeError(f"The double of Stripe did not listen within {START_TIMEOUT_S} s")
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(START_TIMEOUT_S)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        runner = self._loop.run_until_complete(self._listen())
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()

    async def _listen(self) -> web.AppRunner:
        app = application(
            webhook_url=self.webhook_url,
            webhook_secret=self.webhook_secret,
            state=self.state,
            event_types=self.event_types,
            retry_delays_s=self.retry_delays_s,
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.connect(f"http://127.0.0.1:{runner.addresses[0][1]}", self.webhook_secret)
        return runner

    def reset(self) -> None:
        """Delete everything, and restore the webhook of the start."""
        super().reset()
        self.deliveries(automatic=True, url=self.webhook_url, event_types=list(self.event_types))
