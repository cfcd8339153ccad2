"""The process refuses to start when its settings are unsafe."""

import subprocess
import sys

import pytest

from testing.servers import ROOT, environment


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"DJANGO_SECRET_KEY": ""}, "Set DJANGO_SECRET_KEY"),
        ({"DJANGO_ALLOWED_HOSTS": "*"}, "DJANGO_ALLOWED_HOSTS may not be"),
        ({"LUNAOS_JWT_KEYS": "2026=short"}, "LUNAOS_JWT_KEYS"),
        ({"LUNAOS_THREADS": "many"}, "invalid literal"),
    ],
)
def test_unsafe(database: None, changes: dict[str, str], complaint: str) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "check"], env=environment(**changes), cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert complaint in done.stderr


def test_safe(database: None) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "check"], env=environment(), cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "System check identified no issues (0 silenced).\n")
