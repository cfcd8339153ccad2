"""Log lines: one JSON object each, without secrets."""

import json
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from re import _parser as parser
from typing import Any

import pytest
import structlog

from lunaos.infra.observability import logs
from lunaos.infra.observability.logs import redact_text
from runs import executors
from runs.eventlog.recorder import Recorder
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
        # signed tokens of mails, in a path and in a query
        "eyJwNyMENwCAIBdBdODdN:1xYFMe:AnNErlWCeXKEMyPUeUIH7RYzPbCCeBEjVZ5EHol11HBc",
        ".eJwNyMENwCAIBdBdODdN%3A1xYFMe%3AnNErlWCeXKEMyPUeUIH7RYzPbCCeBEjVZ5EHol11HBc",
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
def test_secrets_are_redacted(secret: str) -> None:
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


LONG = "password=hunter2 " * 4_000
LONG_VALUES: list[dict[str, Any]] = [
    {"path": LONG},
    {LONG: "value"},
    {"body": LONG.encode()},
    {"deep": {"list": [{"of": (LONG, {LONG})}]}},
    {"deep": {LONG: {LONG: LONG}}},
    {"error": ValueError(LONG)},
    {"exception": LONG},
    {"exception": f"{LONG}\n" * 3},
    {"stack": "File ...\n" * 4_000},
]


class Watched:
    """A pattern that records the longest text it is called with."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self.pattern, self.longest = pattern, 0

    def sub(self, replacement: Any, text: str) -> str:
        self.longest = max(self.longest, len(text))
        return self.pattern.sub(replacement, text)

    def search(self, text: str) -> re.Match[str] | None:
        self.longest = max(self.longest, len(text))
        return self.pattern.search(text)


@pytest.mark.parametrize("event", LONG_VALUES)
def test_no_pattern_receives_more_than_two_kilobytes(monkeypatch: pytest.MonkeyPatch, event: dict[str, Any]) -> None:
    watched = {name: Watched(getattr(logs, name)) for name in ("SECRETS", "NAMED", "SECRET_NAME")}
    for name, pattern in watched.items():
        monkeypatch.setattr(logs, name, pattern)
    assert "hunter2" not in repr(logs.redact(None, "", event))
    assert all(pattern.longest <= logs.MAX_VALUE_CHARACTERS for pattern in watched.values())


@pytest.mark.parametrize("pattern", [logs.SECRETS, logs.NAMED, logs.SECRET_NAME], ids=["form", "name", "key"])
def test_patterns_are_linear(pattern: re.Pattern[str]) -> None:
    """Unbounded repeats are possessive."""
    assert not [name for name in unbounded_repeats(parser.parse(pattern.pattern, pattern.flags)) if "POSS" not in name]


def unbounded_repeats(parsed: Any) -> Iterator[str]:
    """Names of all repeats without a bound in a parsed pattern."""
    if isinstance(parsed, tuple) and len(parsed) == 2 and "REPEAT" in str(parsed[0]) and "MAXREPEAT" in str(parsed[1]):
        yield from [str(parsed[0])] if str(parsed[1][1]) == "MAXREPEAT" else []
    if isinstance(parsed, list | tuple | parser.SubPattern):
        for part in parsed:
            yield from unbounded_repeats(part)


def test_a_secret_at_the_edge_of_a_cut_value_is_not_shown_in_part() -> None:
    shown = redact_text("x " * (logs.MAX_VALUE_CHARACTERS // 2 - 8) + "lnos_live_0123456789abcdef0123456789abcdef")
    assert "lnos_live_" not in shown and shown.endswith(logs.ELLIPSIS)
    assert len(shown) == logs.MAX_VALUE_CHARACTERS - logs.MARGIN_CHARACTERS + len(logs.ELLIPSIS)


@pytest.mark.parametrize("opening", ['"password": "', "'password': '", r"\"secret\": \"", "eyJ", "gAAAA"])
def test_a_long_secret_that_a_cut_leaves_open_is_not_shown(opening: str) -> None:
    assert "hunter2" not in redact_text(f"{opening}{'hunter2' * 1_000}")


def test_a_traceback_keeps_its_end() -> None:
    shown = logs.redact(None, "", {"exception": "  File ...\n" * 10_000 + "ValueError: key sk-0123456789abcdef"})
    assert shown["exception"].endswith("ValueError: key sk-[redacted]")
    assert len(shown["exception"]) < 2 * logs.MAX_TRACEBACK_CHARACTERS


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
    request_id = f"find-me-{uuid.uuid4()}"
    api.get("/auth/me", headers={**api.as_(alice), "X-Request-Id": request_id})
    lines = [json.loads(line) for line in (folder / "web.log").read_text().split("\n") if request_id in line]
    assert [(line["method"], line["path"], line["status"]) for line in lines] == [("GET", "/auth/me", 200)]


def test_lines_of_a_run_have_its_id_and_the_requests(database: None) -> None:
    """Lines of a web process or a worker have the run's id and the request's id."""
    run_id, found = uuid.uuid4(), dict[str, Any]()

    async def execute(recorder: Recorder) -> None:
        found.update(structlog.contextvars.get_contextvars())

    with structlog.contextvars.bound_contextvars(request_id="r-1"):
        executors.submit(Recorder(run_id), execute).result(10)
        assert "run_id" not in structlog.contextvars.get_contextvars()
    assert (found["request_id"], found["run_id"]) == ("r-1", str(run_id))
