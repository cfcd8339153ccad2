"""JavaScript for tests: packages from npm, and Node.js to run scripts."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

from testing.servers import ROOT

PACKAGE_CACHE = ROOT / "build" / "node"
INSTALL = [
    *("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"),
    *("--prefer-offline", "--loglevel", "error"),
]
MAX_INSTALL_S = 300
MAX_RUN_S = 60


def install(package_json: Path) -> Path:
    """Install the packages of a `package.json`, by its lock file; return their folder."""
    # Skips the test where Node.js or npm is missing; in CI the test fails.
    _require("node", "npm")
    named = package_json.read_bytes() + _lock(package_json).read_bytes()
    kept = PACKAGE_CACHE / hashlib.sha256(named).hexdigest()[:16]
    if not kept.exists():
        _install(package_json, kept)
    return kept / "node_modules"


def _lock(package_json: Path) -> Path:
    return package_json.with_name("package-lock.json")


def run(script: Path, *arguments: str, packages: Path) -> str:
    """Run a script and return its standard output; fail with its error output."""
    done = subprocess.run(
        ["node", str(script), *arguments],
        env={**os.environ, "NODE_PATH": str(packages)},
        capture_output=True,
        text=True,
        timeout=MAX_RUN_S,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _require(*programs: str) -> None:
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        reason = f"{' and '.join(missing)} not found: install Debian's nodejs and npm"
        assert not os.environ.get("CI"), reason
        pytest.skip(reason)


def _install(package_json: Path, kept: Path) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as temporary:
        fresh = Path(temporary, "fresh")
        fresh.mkdir()
        for file in (package_json, _lock(package_json)):
            shutil.copy(file, fresh)
        done = subprocess.run(INSTALL, cwd=fresh, capture_output=True, text=True, timeout=MAX_INSTALL_S)
        assert done.returncode == 0, f"npm did not install {package_json}:\n{done.stderr}"
        with suppress(OSError):  # another test process was faster, with the same packages
            fresh.rename(kept)
