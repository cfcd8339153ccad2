"""lunaos.api.streaming.deferred: responses that the innermost middleware completes."""

import asyncio
import json
import time
from contextlib import suppress
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from lunaos.api.middleware import open_streams
from lunaos.api.streaming.deferred import DeferredResponse
from lunaos.api.streaming.sse import EventStreamResponse
from lunaos.errors import NotFound


class Waiting(DeferredResponse):
    """A response that answers 201, or raises the error of the test."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.error, self.within_s, self.abandoned = error, 0.0, False

    async def open(self, within_s: float) -> HttpResponseBase:
        self.within_s = within_s
        if self.error:
            raise self.error
        return HttpResponse("created", status=201)

    def abandon(self) -> None:
        self.abandoned = True


def frame(method: str = "POST") -> Any:
    request: Any = HttpRequest()
    request.method, request.started, request.access = method, time.perf_counter(), "access"
    return request


def respond(response: HttpResponseBase, method: str = "POST") -> Any:
    """Return the response that the middleware sends for a view's response."""

    async def view(request: object) -> HttpResponseBase:
        return response

    async def call() -> Any:
        return await open_streams(view)(frame(method))

    return asyncio.run(call())


def test_it_works() -> None:
    waiting = Waiting()
    sent = respond(waiting)
    assert (sent.status_code, sent.content) == (201, b"created")
    access: object = waiting.access
    assert access == "access"
    assert waiting.within_s > 0


def test_an_error_becomes_the_error_response() -> None:
    sent = respond(Waiting(NotFound("No such job.")))
    assert (sent.status_code, json.loads(sent.content)["code"]) == (404, "not_found")


def test_other_responses_pass_unchanged() -> None:
    plain = HttpResponse("plain")
    assert respond(plain) is plain


def test_head_is_answered_without_waiting() -> None:
    waiting = Waiting()
    assert respond(waiting, "HEAD").status_code == 200
    assert waiting.within_s == 0.0


def test_a_response_whose_client_left_is_abandoned() -> None:
    waiting, started, finish = Waiting(), asyncio.Event(), asyncio.Event()

    async def view(request: object) -> HttpResponseBase:
        started.set()
        await finish.wait()
        return waiting

    async def leave() -> None:
        call = asyncio.ensure_future(open_streams(view)(frame()))
        await started.wait()
        call.cancel()
        with suppress(asyncio.CancelledError):
            await call
        finish.set()
        while not waiting.abandoned:
            await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(leave(), 5))
    assert waiting.within_s == 0.0


def test_a_response_without_open_fails_loudly() -> None:
    with pytest.raises(NotImplementedError):
        asyncio.run(DeferredResponse().open(1))


def test_a_stream_is_deferred_but_not_every_deferred_response_streams() -> None:
    assert issubclass(EventStreamResponse, DeferredResponse)
    assert not issubclass(DeferredResponse, StreamingHttpResponse)
