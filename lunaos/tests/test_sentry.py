"""Errors sent to Sentry, where it is set: scrubbed like log lines."""

import json
import subprocess
import sys

from lunaos.embedded.servers import until
from testing.receiver import Receiver
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
SCRUB = {
    "request": {"url": "https://h/p?key=planted", "headers": {"A": "planted"}, "data": "planted", "method": "GET"},
    "user": {"email": "planted"},
    "extra": {"deep": [{"password": "planted"}, "Bearer planted0123456789"]},
}


def run(**changes: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", CODE], env=environment(**changes), cwd=ROOT, capture_output=True, text=True
    )


def test_it_works(database: None) -> None:
    with Receiver() as receiver:
        done = run(SENTRY_DSN=f"http://0123456789abcdef@{receiver.address}/1")
        assert done.returncode == 0, done.stderr
        assert until(lambda: any(b'"exception"' in body for body in receiver.bodies), 5)
        sent = b"\n".join(receiver.bodies).decode()
    error = next(json.loads(line) for line in sent.split("\n") if '"exception"' in line)
    (value,) = error["exception"]["values"]
    assert value["type"] == "ValueError"
    assert value["value"] == "key sk-[redacted] is wrong, password=[redacted] at postgres://[redacted]@host/db"
    assert not any("vars" in frame for frame in value["stacktrace"]["frames"])
    assert not any(secret in sent for secret in ("hunter2", "sk-0123456789", "lunaos.logs.prompt"))


def test_what_clients_sent_stays_here() -> None:
    from lunaos.sentry import scrubbed

    sent = scrubbed(SCRUB, {})
    assert sent["request"] == {"url": "https://h/p", "method": "GET"}
    assert "planted" not in str(sent)
