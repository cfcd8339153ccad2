"""Mails are sent through Resend if its key is set, and written to files otherwise."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from accounts import tasks
from testing.servers import ROOT, environment


@pytest.fixture
def resend() -> Iterator[HTTPServer]:
    """Resend's API, as far as a mail needs it; remembers what was sent."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.path, self.headers["Authorization"], json.loads(body)))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"id": "mail-1"}')

        def log_message(self, *_: Any) -> None:
            pass

    received: list[Any] = []
    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.received = received  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def through_resend(resend: Any, settings: Any) -> None:
    settings.EMAIL_BACKEND = "anymail.backends.resend.EmailBackend"
    settings.ANYMAIL = {"RESEND_API_KEY": "re_test", "RESEND_API_URL": f"http://127.0.0.1:{resend.server_port}/"}


def test_through_resend(resend: Any, alice: Any) -> None:
    tasks.send_welcome(str(alice.pk))

    ((path, authorization, mail),) = resend.received
    assert (path, authorization) == ("/emails", "Bearer re_test")
    assert mail["to"] == [alice.email] and mail["subject"] == "Welcome to LunaOS"
    assert "Hello," in mail["text"] and "/docs" in mail["text"]


def test_a_deleted_user_gets_no_mail(alice: Any, resend: Any) -> None:
    user_id = str(alice.pk)
    alice.delete()
    tasks.send_welcome(user_id)
    assert resend.received == []


@pytest.mark.parametrize(("key", "backend"), [("re_123", "accounts.resend"), ("", "filebased")])
def test_the_key_decides(database: None, key: str, backend: str) -> None:
    code = "import django; django.setup(); from django.conf import settings; print(settings.EMAIL_BACKEND)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment(RESEND_API_KEY=key), cwd=ROOT, capture_output=True, text=True)
    assert backend in done.stdout
