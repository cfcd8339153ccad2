"""The Dockerfile: hadolint's rules, and ours."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from testing.container import HEALTH, IMAGE_ENVIRONMENT, START, USER
from testing.servers import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text()
HADOLINT = Path(sys.executable).with_name("hadolint")
RESULT = DOCKERFILE.rpartition("\nFROM ")[2]


def lint(text: str) -> str:
    if not HADOLINT.exists():
        pytest.skip("hadolint is not installed: see requirements/ci.in")
    return subprocess.run([HADOLINT, "-"], input=text, capture_output=True, text=True).stdout


def test_it_works() -> None:
    assert lint(DOCKERFILE) == ""


def test_hadolint_finds_something() -> None:
    assert "DL3007" in lint("FROM python:latest\n")


def test_the_base_is_pinned_to_its_bytes() -> None:
    assert re.search(r"^ARG PYTHON=python:3\.11\.\d+-slim-bookworm@sha256:[0-9a-f]{64}$", DOCKERFILE, re.MULTILINE)
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["${PYTHON}", "${PYTHON}"]


def test_the_result_is_what_the_tests_of_the_image_run() -> None:
    assert f"\nUSER {USER}:{USER}\n" in RESULT
    assert f'\nENTRYPOINT ["{START}"]\n' in RESULT
    (health,) = re.findall(r"\n    CMD (\[.*\])\n", RESULT)
    assert json.loads(health) == ["python", *HEALTH[1:]]
    set_there = dict(re.findall(r"([A-Z_]+)=(\S+)", RESULT.partition("ENV ")[2].partition("\nWORKDIR")[0]))
    assert set_there.pop("PATH") == "/opt/lunaos/venv/bin:$PATH"
    assert set_there.items() <= IMAGE_ENVIRONMENT.items()
    assert "apt-get" not in DOCKERFILE  # no compiler, and nothing else to keep up to date


@pytest.mark.parametrize("name", [".env", ".git", ".venv", ".lunaos", "testing", "requirements", "deploy/tests"])
def test_what_is_not_deployed_is_not_sent_to_the_engine(name: str) -> None:
    """.dockerignore excludes everything except the files of the build."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    assert f"!{name}" not in lines and f"!{name.partition('/')[0]}" not in lines


def test_all_that_the_build_takes_is_sent() -> None:
    build = (ROOT / "deploy" / "image" / "build").read_text()
    parts = set(re.findall(r"for part in (.*); do", build)[0].split())
    apps = {path.parent.name for path in ROOT.glob("*/apps.py")}  # for tests and laptops
    assert parts >= apps | {"lunaos", "templates", "manage.py"}
    let_in = set(re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    assert let_in == parts | {"requirements.txt", "requirements/embedded.txt", "deploy/image"}
