"""Log lines: one JSON object each, without secrets."""

import json
import subprocess
import sys
import uuid
from typing import Any

import pytest
import structlog

from lunaos.logs import redact_text
from runs import executors
from runs.recorder import Recorder
from testing.client import Api
from testing.servers import ROOT, environment


@pytest.mark.parametrize(
    "secret",
    [
        "lnos_live_0123456789abcdef0123456789abcdef",
        "sk-0123456789abcdef",
        "sk_live_0123456789abcdef",
        "rk_test_0123456789abcdef",
        "whsec_0123456789abcdef",
        "re_123456789abcdef",
        "Bearer abcdef0123456789",
        "Basic YWxpY2U6aHVudGVyMg0123456789==",
        "sk-ant-api03-0123456789abcdef",
        "sk-proj-0123456789abcdef",
        "gsk_0123456789abcdef",
        "xai-0123456789abcdef",
        "hf_0123456789abcdef",
        "AIzaSy0123456789abcdef",
        "pk_live_0123456789abcdef",
        "gAAAAABk0123456789abcdef==",
        "argon2$argon2id$v=19$m=19456,t=2,p=1$c29tZTAxMjM0NTY3ODk$0123456789",
        'password="hunter2"',
        "password=hunter2",
        """{'new_password': 'hunter2 and "more"'}""",
        '{"client_secret": "hunter2"}',
        "otpauth://totp/LunaOS:alice?secret=JBSWY3DPEHPK3PXP0123456789",
        "DEEPSEEK_API_KEY=0123456789",
        "'api-key': '0123456789'",
        r'"{\"password\": \"hunter2\"}"',
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        "postgres://user:hunter2secret@host/db",
    ],
)
def test_secrets_are_taken_out(secret: str) -> None:
    text = redact_text(f"before {secret} after")
    assert "[redacted]" in text and text.startswith("before ") and text.endswith(" after")
    assert not any(part in text for part in ("0123456789", "hunter2", "c2lnbmF0dXJl"))


@pytest.mark.parametrize(
    "text",
    [
        *("_ensure_connection", "a task-sk list", "http://host:80/path", "re_entrant_code", "Basic authentication"),
        *("The password is too common", "tokens: 812", "key 5 of 12", "secrets are taken out", "Bearer tokens"),
        *("SELECT sealed FROM agents_providerkey", "eyJ is how a token begins", "accounts.password_reset"),
    ],
)
def test_ordinary_text_is_kept(text: str) -> None:
    assert redact_text(text) == text


CODE = """
import django; django.setup()
import logging, structlog
try:
    raise ValueError("key sk-0123456789abcdef is wrong")
except ValueError:
    logging.getLogger("x").exception("failed for %s", "Bearer abcdef0123456789")
structlog.get_logger("y").info("event", token="lnos_live_0123456789abcdef")
deep = {"user": {"password": "hunter2", "name": "alice"}, "keys": ["sk-0123456789abcdef", b"sk-0123456789abcdef", 5]}
structlog.get_logger("z").info("event", request=deep, secret=17, nothing=None)
"""


def test_a_record_and_its_traceback(database: None) -> None:
    done = subprocess.run([sys.executable, "-c", CODE], env=environment(), cwd=ROOT, capture_output=True, text=True)
    first, second, third = (json.loads(line) for line in done.stderr.strip().split("\n"))
    assert first["event"] == "failed for Bearer [redacted]"
    assert "ValueError: key sk-[redacted] is wrong" in first["exception"]
    assert second["token"] == "lnos_live_[redacted]"
    assert third["request"] == {
        "user": {"password": "[redacted]", "name": "alice"},
        "keys": ["sk-[redacted]", "sk-[redacted]", 5],
    }
    assert (third["secret"], third["nothing"]) == ("[redacted]", None)


def test_the_request_id_is_on_the_line_of_the_request(api: Api, alice: Any, folder: Any) -> None:
    api.get("/auth/me", headers={**api.as_(alice), "X-Request-Id": "find-me-in-the-log"})
    lines = [json.loads(line) for line in (folder / "web.log").read_text().split("\n") if "find-me-in-the-log" in line]
    assert [(line["method"], line["path"], line["status"]) for line in lines] == [("GET", "/auth/me", 200)]


def test_what_a_run_says_has_its_id_and_the_request_s(database: None) -> None:
    """Wherever it is executed: the web process or a worker, whose lines take the request's id from the task."""
    run_id, found = uuid.uuid4(), dict[str, Any]()

    async def execute(recorder: Recorder) -> None:
        found.update(structlog.contextvars.get_contextvars())

    with structlog.contextvars.bound_contextvars(request_id="r-1"):
        executors.submit(Recorder(run_id), execute).result(10)
        assert "run_id" not in structlog.contextvars.get_contextvars()
    assert (found["request_id"], found["run_id"]) == ("r-1", str(run_id))
