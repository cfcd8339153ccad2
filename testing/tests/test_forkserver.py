"""Forked servers of tests: own settings and identity, and no longer life."""

import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import psutil
import pytest

from lunaos.embedded.servers import until
from testing.servers import ROOT, process

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks are inherited on Linux only")
STARTS_WITHIN_S, ENDS_WITHIN_S = 120, 20


def report(folder: Path, setting: str = "LLM_RETRIES", **changes: str) -> dict[str, Any]:
    """Start a process that says what it knows, and return that."""
    file, log = folder / uuid.uuid4().hex, folder / "log"
    with process(["-m", "testing.tests.report", str(file), setting], log, **changes) as child:
        assert child.wait(STARTS_WITHIN_S) == 0, log.read_text()
    return dict(json.loads(file.read_text()))


def test_it_works(database: None, tmp_path: Path) -> None:
    found = report(tmp_path)
    assert found["by_fork"] and found["argv"][1:] == ["LLM_RETRIES"]


def test_each_has_its_own_settings(database: None, tmp_path: Path) -> None:
    found = [report(tmp_path, LLM_RETRIES=text)["setting"] for text in ("7", "8")]
    assert found == [7, 8]


def test_each_has_its_own_environment(database: None, tmp_path: Path) -> None:
    assert [report(tmp_path, PLANTED="yes")["planted"], report(tmp_path)["planted"]] == ["yes", None]


def test_each_has_its_own_database(database: None, tmp_path: Path) -> None:
    found = report(tmp_path, DATABASE_URL="postgres://nobody@127.0.0.1:1/another")
    assert (found["by_fork"], found["database"]) == (True, "another")


def test_each_has_its_own_number(database: None, tmp_path: Path) -> None:
    assert report(tmp_path)["number"] != report(tmp_path)["number"]


@pytest.mark.parametrize(
    ("name", "value", "setting", "expected"),
    [("LUNAOS_THREADS", "3", "THREADS", 3), ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1", "LLM_RETRIES", 2)],
)
def test_what_imports_read_costs_a_start(
    database: None, tmp_path: Path, name: str, value: str, setting: str, expected: int
) -> None:
    found = report(tmp_path, setting, **{name: value})
    assert (found["by_fork"], found["setting"]) == (False, expected)


def test_an_unusable_setting_is_refused(database: None, tmp_path: Path) -> None:
    with process(["-m", "testing.tests.report", "file", "DEBUG"], tmp_path / "log", LUNAOS_THREADS="many") as child:
        assert child.wait(STARTS_WITHIN_S) != 0
    assert "LUNAOS_THREADS is 'many'" in (tmp_path / "log").read_text()


def test_a_killed_pytest_leaves_nothing_behind(database: None, tmp_path: Path) -> None:
    """With a worker of xdist, a web process, a worker of Celery and a browser."""
    mark, sign = uuid.uuid4().hex, tmp_path / "sign"
    base, _, _ = os.environ["DATABASE_URL"].rpartition("/")
    changes = {"DATABASE_URL": f"{base}/killed", "MARK": mark, "SIGN": str(sign)}
    command = [sys.executable, "-m", "pytest", "-n", "1", "testing/tests/hang.py"]
    with open(tmp_path / "log", "wb") as log:
        tests = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **changes}, stdout=log, stderr=log)
    assert until(sign.exists, STARTS_WITHIN_S), (tmp_path / "log").read_text()
    assert len(marked(mark)) >= 6
    tests.send_signal(signal.SIGKILL)
    tests.wait()
    assert until(lambda: not marked(mark), ENDS_WITHIN_S), [each.cmdline() for each in marked(mark)]


def marked(mark: str) -> list[psutil.Process]:
    """Return the processes that have the mark in their environment."""
    found = []
    for each in psutil.process_iter():
        try:
            if each.environ().get("MARK") == mark and each.status() != psutil.STATUS_ZOMBIE:
                found.append(each)
        except psutil.Error:
            continue
    return found
