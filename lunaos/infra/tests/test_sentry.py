"""Errors sent to Sentry, where it is set: scrubbed like log lines."""

import json
import subprocess
import sys

from lunaos.embedded.servers import until
from testing.loopback.receiver import Receiver
from testing.servers import ROOT, environment

CODE = """
import django; django.setup()
import asyncio, logging, sentry_sdk
from django.test import AsyncRequestFactory
from lunaos.api.exceptions import translate
prompt = "a planted prompt"
try:
    raise ValueError("key sk-0123456789abcdef is wrong, password=hunter2 at postgres://user:hunter2secret@host/db")
except ValueError as e:
    translate(e)
sentry_sdk.flush(5)
"""
REQUESTS = """
import asyncio, gc
import daphne.server
from lunaos.asgi import application
from asgiref.testing import ApplicationCommunicator
from django.core.handlers.asgi import ASGIRequest

async def ask():
    scope = {"type": "http", "method": "GET", "path": "/favicon.ico", "query_string": b"", "headers": []}
    communicator = ApplicationCommunicator(application, scope)
    await communicator.send_input({"type": "http.request"})
    status = (await communicator.receive_output())["status"]
    await communicator.receive_output()
    await communicator.wait()
    return status

async def ask_thrice():
    return [await ask() for _ in range(3)]

statuses = asyncio.run(ask_thrice())
gc.collect()
print(statuses, sum(isinstance(each, ASGIRequest) for each in gc.get_objects()))
"""
SCRUB = {
    "request": {"url": "https://h/p?key=planted", "headers": {"A": "planted"}, "data": "planted", "method": "GET"},
    "user": {"email": "planted"},
    "extra": {"deep": [{"password": "planted"}, "Bearer planted0123456789"]},
}


def run(code: str, **changes: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", code], env=environment(**changes), cwd=ROOT, capture_output=True, text=True
    )


def test_it_works(database: None) -> None:
    with Receiver() as receiver:
        done = run(CODE, SENTRY_DSN=f"http://0123456789abcdef@{receiver.address}/1")
        assert done.returncode == 0, done.stderr
        assert until(lambda: any(b'"exception"' in body for body in receiver.bodies), 5)
        sent = b"\n".join(receiver.bodies).decode()
    error = next(json.loads(line) for line in sent.split("\n") if '"exception"' in line)
    (value,) = error["exception"]["values"]
    assert value["type"] == "ValueError"
    assert value["value"] == "key sk-[redacted] is wrong, password=[redacted] at postgres://[redacted]@host/db"
    assert not any("vars" in frame for frame in value["stacktrace"]["frames"])
    assert not any(secret in sent for secret in ("hunter2", "sk-0123456789", "lunaos.infra.observability.logs.prompt"))


def test_requests_bodies_are_not_sent() -> None:
    from lunaos.infra.observability.sentry import scrubbed

    sent = scrubbed(SCRUB, {})
    assert sent.keys() == {"extra"}
    assert "planted" not in str(sent)


def test_no_request_stays_in_memory(database: None) -> None:
    done = run(REQUESTS, SENTRY_DSN="http://0123456789abcdef@127.0.0.1:9/1")
    assert (done.returncode, done.stdout) == (0, "[200, 200, 200] 0\n"), done.stderr
