"""`make backup` and `make restore`: database, secrets and mails of a home."""

import os
import subprocess
import sys
from pathlib import Path

from lunaos.embedded.__main__ import REMOVED_VARIABLES
from testing.servers import ROOT


def embedded(home: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    variables = {
        name: value for name, value in os.environ.items() if name not in (*REMOVED_VARIABLES, "DJANGO_SECRET_KEY")
    }
    command = [sys.executable, "-m", "lunaos.embedded", *words]
    environment = {**variables, "LUNAOS_HOME": str(home), "DJANGO_SETTINGS_MODULE": "lunaos.settings"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_it_works(tmp_path: Path) -> None:
    (tmp_path / "old" / "mail").mkdir(parents=True)
    (tmp_path / "old" / "mail" / "1.log").write_text("Welcome")
    done = embedded(tmp_path / "old", "backup")
    assert done.returncode == 0, done.stdout + done.stderr
    secret = (tmp_path / "old" / "secret-key").read_text()

    backup, home = done.stdout.split("\n")[-2], tmp_path / "new"
    done = embedded(home, "restore", backup)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("Restored.\n")
    assert (home / "secret-key").read_text() == secret
    assert (home / "mail" / "1.log").read_text() == "Welcome"
