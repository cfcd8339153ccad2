"""The process refuses to start when its settings are unsafe."""

import re
import subprocess
import sys

import pytest
from django.conf import settings

from lunaos.celery import app
from testing.servers import ROOT, environment


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"DJANGO_SECRET_KEY": ""}, "Set DJANGO_SECRET_KEY"),
        ({"DJANGO_ALLOWED_HOSTS": "*"}, "DJANGO_ALLOWED_HOSTS may not be"),
        ({"LUNAOS_JWT_KEYS": "2026=short"}, "LUNAOS_JWT_KEYS"),
        ({"LLM_FALLBACK": "openai,acme"}, "LLM_FALLBACK names acme"),
        ({"LUNAOS_THREADS": "many"}, "invalid literal"),
        ({"LUNAOS_LOCKOUT_FAILURES": "0"}, "LUNAOS_LOCKOUT_FAILURES is"),
        ({"LUNAOS_LOCKOUT_FAILURES": "9", "LUNAOS_LOCKOUT_ACCOUNT_FAILURES": "8"}, "LUNAOS_LOCKOUT_FAILURES is"),
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
    assert (done.returncode, done.stdout) == (0, "System check identified no issues (1 silenced).\n")


def test_the_example_of_the_environment_is_usable_as_it_is(database: None) -> None:
    """Sourced by a shell; what it leaves empty must count as not set."""
    needed = f'DJANGO_SECRET_KEY={"x" * 40}; DATABASE_URL="$D"; REDIS_URL="$R"'
    script = f'set -a; . ./.env.example; {needed}; set +a; "$P" manage.py check'
    known = environment()
    variables = {"D": known["DATABASE_URL"], "R": known["REDIS_URL"], "P": sys.executable, "PATH": known["PATH"]}
    done = subprocess.run(["sh", "-c", script], env=variables, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_example_names_every_variable(database: None) -> None:
    source = (ROOT / "lunaos" / "settings.py").read_text()
    named = set(re.findall(r'env\.\w+\(\s*"([A-Z_]+)"', source))
    listed = set(re.findall(r"^([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert named <= listed


@pytest.mark.parametrize(
    ("changes", "required"),
    [
        ({}, True),
        ({"LUNAOS_STAFF_SECOND_FACTOR": ""}, True),
        ({"LUNAOS_STAFF_SECOND_FACTOR": "false"}, False),
        ({"DJANGO_DEBUG": "true"}, False),
        ({"DJANGO_DEBUG": "true", "LUNAOS_STAFF_SECOND_FACTOR": "true"}, True),
    ],
)
def test_production_asks_staff_for_a_second_factor(database: None, changes: dict[str, str], required: bool) -> None:
    code = "from lunaos import settings; print(settings.STAFF_SECOND_FACTOR)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(**changes), cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.strip() == str(required), done.stderr


def test_beat_names_tasks_that_exist() -> None:
    app.loader.import_default_modules()
    assert {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()} <= set(app.tasks)
