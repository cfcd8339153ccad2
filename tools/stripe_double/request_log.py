from collections import deque
from typing import Any

from aiohttp import web

from tools.stripe_double import forms
from tools.stripe_double.api import key_of

MAX_REQUESTS = 1000
KEY_PREFIX = len("sk_test_")
REQUESTS = web.AppKey("requests", deque[dict[str, Any]])


async def record(request: web.Request) -> None:
    text = await request.text() if request.body_exists else request.query_string
    request.app[REQUESTS].append(
        {
            "method": request.method,
            "path": request.path,
            "params": forms.parse(text),
            "idempotency_key": request.headers.get("Idempotency-Key"),
            "version": request.headers.get("Stripe-Version"),
            # Without the key itself.
            "authorization": key_of(request.headers)[:KEY_PREFIX],
        }
    )
