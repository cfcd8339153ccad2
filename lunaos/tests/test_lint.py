"""Silenced findings of `make lint` have a reason."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from testing.servers import ROOT

SILENCED = re.compile(r"#\s*(?:noqa: [A-Z0-9, ]*\bS\d{3}\b|nosec\b)(?P<rest>.*)$", re.MULTILINE)


def test_every_silenced_finding_of_security_says_why() -> None:
    paths = [path for path in ROOT.glob("*/**/*.py") if not {".venv", "tests", "benchmarks"} & set(path.parts)]
    unexplained = [
        f"{path.relative_to(ROOT)}: {found[0]}"
        for path in paths
        for found in SILENCED.finditer(path.read_text())
        if not re.match(r"[A-Z0-9, ]* - \w.+", found["rest"])
    ]
    assert len(paths) > 100
    assert unexplained == []


def test_every_check_that_is_off_says_why() -> None:
    lines = (ROOT / "pyproject.toml").read_text().split("[tool.bandit]")[1].split("[tool.mypy]")[0].split("\n")
    skipped = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["bandit"]["skips"]
    for check in skipped:
        (number,) = [number for number, line in enumerate(lines) if f'"{check}"' in line]
        assert "# " in lines[number] or lines[number - 1].strip().startswith("# "), check


@pytest.mark.parametrize(
    "code", ["import pickle\npickle.loads(b'')\n", "import hashlib\nhashlib.md5(b'')\n", "eval(input())\n"]
)
def test_bandit_finds_what_is_insecure(tmp_path: Path, code: str) -> None:
    pytest.importorskip("bandit", reason="see requirements/ci.in")
    file = tmp_path / "code.py"
    file.write_text(code)
    command = [sys.executable, "-m", "bandit", "-q", "-c", "pyproject.toml", "-r", str(file)]
    assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == 1
