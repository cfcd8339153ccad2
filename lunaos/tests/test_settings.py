"""Unsafe settings refuse the start, and production's pass Django's own checks."""

import json
import re
import secrets
import subprocess
import sys
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from lunaos import environment as env_variables
from lunaos.celery import app
from testing.servers import ROOT, environment

PUBLIC = {"LUNAOS_PUBLIC_URL": "https://lunaos.example.com", "DJANGO_ALLOWED_HOSTS": "lunaos.example.com"}
PRODUCTION = {
    **PUBLIC,
    "DJANGO_SECRET_KEY": secrets.token_urlsafe(48),
    "DJANGO_SECRET_KEY_FALLBACKS": secrets.token_urlsafe(48),
    "LUNAOS_ENCRYPTION_KEYS": f"{Fernet.generate_key().decode()},{Fernet.generate_key().decode()}",
    "LUNAOS_JWT_KEYS": f"2026={secrets.token_hex(32)}",
    "LUNAOS_TRUSTED_PROXIES": "1",
}

STRIPE = {"STRIPE_SECRET_KEY": "sk_test_plantedSecretKey", "STRIPE_WEBHOOK_SECRETS": "whsec_planted"}
LIVE = {"STRIPE_SECRET_KEY": "sk_live_plantedSecretKey"}
UNSAFE: list[tuple[dict[str, str], str]] = [
    ({"DJANGO_SECRET_KEY": ""}, "Set DJANGO_SECRET_KEY"),
    ({"DJANGO_SECRET_KEY": "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLM"}, "needs 50 characters"),  # 49
    ({"DJANGO_SECRET_KEY": "abcd" * 20}, "5 of them different"),
    ({"DJANGO_SECRET_KEY": "django-insecure-" + "0123456789abcdef" * 4}, "publicly known"),
    ({"DJANGO_ALLOWED_HOSTS": "*"}, "DJANGO_ALLOWED_HOSTS may not be"),
    ({"DJANGO_ALLOWED_HOSTS": "lunaos.example.com,*"}, "DJANGO_ALLOWED_HOSTS may not be"),
    ({**PUBLIC, "DJANGO_DEBUG": "true"}, "DJANGO_DEBUG shows secrets"),
    ({**PUBLIC, "LUNAOS_PUBLIC_URL": "http://lunaos.example.com"}, "must begin with https://"),
    ({"LUNAOS_PUBLIC_URL": "http://192.0.2.7:8000"}, "must begin with https://"),
    ({"LUNAOS_PUBLIC_URL": "http://[2001:db8::1]:8000"}, "must begin with https://"),
    ({"LUNAOS_PUBLIC_URL": "http://localhost.example.com"}, "must begin with https://"),
    ({"LUNAOS_PUBLIC_URL": "lunaos.example.com"}, "LUNAOS_PUBLIC_URL is not the URL"),
    ({"LUNAOS_PUBLIC_URL": "ftp://lunaos.example.com"}, "LUNAOS_PUBLIC_URL is not the URL"),
    ({"LUNAOS_PUBLIC_URL": "https://"}, "LUNAOS_PUBLIC_URL is not the URL"),
    ({"LUNAOS_PUBLIC_URL": "https://lunaos.example.com:port"}, "LUNAOS_PUBLIC_URL is not the URL"),
    ({"LUNAOS_ENCRYPTION_KEYS": f"{Fernet.generate_key().decode()},planted-secret"}, "Key 2 of LUNAOS_ENCRYPTION"),
    ({"LUNAOS_ENCRYPTION_KEYS": "planted-größe"}, "Key 1 of LUNAOS_ENCRYPTION_KEYS is not 32 bytes"),
    ({"LUNAOS_JWT_KEYS": "2026=short"}, "LUNAOS_JWT_KEYS"),
    ({"STRIPE_SECRET_KEY": STRIPE["STRIPE_SECRET_KEY"]}, "is incomplete: set STRIPE_WEBHOOK_SECRETS"),
    ({"STRIPE_WEBHOOK_SECRETS": "whsec_planted"}, "is incomplete: set STRIPE_SECRET_KEY"),
    ({**STRIPE, "STRIPE_SECRET_KEY": "pk_test_plantedPublishable"}, "is not a secret or restricted key"),
    ({**STRIPE, "STRIPE_WEBHOOK_SECRETS": "whsec_planted,planted"}, "must be signing secrets"),
    ({**STRIPE, "STRIPE_API_HOST": "https://stripe.example.com"}, "may only name a double"),
    ({**STRIPE, **LIVE, "STRIPE_API_HOST": "http://127.0.0.1:12111"}, "together with a test key"),
    ({**STRIPE, "STRIPE_API_HOST": "nowhere"}, "STRIPE_API_HOST is not the URL"),
    ({**STRIPE, **LIVE, "DJANGO_DEBUG": "true"}, "is a live key while DJANGO_DEBUG is on"),
    ({"LLM_FALLBACK": "openai,acme"}, "LLM_FALLBACK names acme"),
    ({"LLM_DAILY_LIMIT_USD": "-0.01"}, "LLM_DAILY_LIMIT_USD is '-0.01': set US dollars"),
    ({"LLM_DAILY_LIMIT_USD": "NaN"}, "LLM_DAILY_LIMIT_USD is 'NaN': set US dollars"),
    ({"LLM_FREE_DAILY_LIMIT_USD": "ten"}, "LLM_FREE_DAILY_LIMIT_USD is 'ten': set US dollars"),
    ({"LUNAOS_THREADS": "many"}, "LUNAOS_THREADS is 'many', which is not a whole number: set a value such as 8."),
    ({"LUNAOS_THREADS": "0"}, "LUNAOS_THREADS is 0: set 1 or more."),
    ({"PORT": "abc"}, "PORT is 'abc'"),
    ({"PORT": "65536"}, "PORT is 65536: set 1 to 65535."),
    ({"LUNAOS_METRICS_PORT": "-1"}, "LUNAOS_METRICS_PORT is -1: set 0 to 65535."),
    ({"LLM_CONNECT_TIMEOUT_S": "5 s"}, "LLM_CONNECT_TIMEOUT_S is '5 s', which is not a number"),
    ({"LLM_CONNECT_TIMEOUT_S": "inf"}, "LLM_CONNECT_TIMEOUT_S is 'inf'"),
    ({"LUNAOS_STREAM_HEARTBEAT_S": "0"}, "LUNAOS_STREAM_HEARTBEAT_S is 0: set 0.05 or more."),
    ({"DJANGO_DEBUG": "ture"}, "DJANGO_DEBUG is 'ture': set true or false."),
    ({"LUNAOS_STAFF_SECOND_FACTOR": "nay"}, "LUNAOS_STAFF_SECOND_FACTOR is 'nay': set true or false."),
    ({"LUNAOS_JWT_KEYS": "planted-secret-without-a-name-0123456789"}, "LUNAOS_JWT_KEYS is not a list of pairs"),
    ({"LUNAOS_RETENTION_DAYS": "free=ninety"}, "LUNAOS_RETENTION_DAYS is days by tier"),
    ({"LUNAOS_LOG_LEVEL": "loud"}, "LUNAOS_LOG_LEVEL is 'LOUD': set DEBUG"),
    ({"DATABASE_URL": "mysql://u:planted@host/lunaos"}, "DATABASE_URL is not a valid URL: set postgres://…"),
    ({"DATABASE_URL": "postgres://u:planted@host:port/lunaos"}, "DATABASE_URL is not a valid URL"),
    ({"DATABASE_URL": ""}, "Set the DATABASE_URL environment variable"),
    ({"REDIS_URL": "planted"}, "REDIS_URL is not a valid URL: set redis://…"),
    ({"REDIS_URL": ""}, "Set the REDIS_URL environment variable"),
    ({"DEEPSEEK_BASE_URL": "api.deepseek.com/planted"}, "DEEPSEEK_BASE_URL is not a valid URL: set http://…"),
    ({"EMBEDDINGS_BASE_URL": "http://:planted"}, "EMBEDDINGS_BASE_URL is not a valid URL"),
    ({"LUNAOS_CORS_ORIGINS": "https://app.example.com,app.example.com"}, "LUNAOS_CORS_ORIGINS names 'app.example.com'"),
    ({"LUNAOS_CORS_ORIGINS": "https://app.example.com/"}, "LUNAOS_CORS_ORIGINS names 'https://app.example.com/'"),
    (
        {"EMBEDDINGS_TOKENIZER": "/nowhere/tokenizer.json"},
        "EMBEDDINGS_TOKENIZER is '/nowhere/tokenizer.json', which is not a file",
    ),
    ({"EMBEDDINGS_DIMENSION": "0"}, "EMBEDDINGS_DIMENSION is 0: set 1 or more."),
    ({"SENTRY_DSN": "planted"}, "SENTRY_DSN is no DSN"),
    ({"LUNAOS_LOCKOUT_FAILURES": "0"}, "LUNAOS_LOCKOUT_FAILURES is"),
    ({"LUNAOS_LOCKOUT_FAILURES": "9", "LUNAOS_LOCKOUT_ACCOUNT_FAILURES": "8"}, "LUNAOS_LOCKOUT_FAILURES is"),
]
SAFE: list[dict[str, str]] = [
    {},
    {"LUNAOS_PUBLIC_URL": "http://127.0.0.1:9000"},
    {"LUNAOS_PUBLIC_URL": "http://[::1]:9000"},
    {"LUNAOS_PUBLIC_URL": "http://app.localhost/"},
    {"DJANGO_DEBUG": "true", "DJANGO_SECRET_KEY": "short", "DJANGO_ALLOWED_HOSTS": "*"},
    PUBLIC,
    {"LLM_DAILY_LIMIT_USD": "0", "LLM_FREE_DAILY_LIMIT_USD": "2.50"},
]
# Each case in a fork of a process that has imported all that knows no settings: forty starts would take a minute.
CHECK = """
import json, os, runpy, sys, tempfile
import lunaos
answers = []
for environment in json.load(sys.stdin):
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        if not (child := os.fork()):
            os.environ.clear(), os.environ.update(environment)
            os.dup2(out.fileno(), 1), os.dup2(err.fileno(), 2)
            sys.argv = ["manage.py", "check"]
            runpy.run_path("manage.py", run_name="__main__")
            sys.exit()
        status = os.waitpid(child, 0)[1]
        out.seek(0), err.seek(0)
        answers.append([os.waitstatus_to_exitcode(status), out.read(), err.read()])
print(json.dumps(answers))
"""
Outcome = tuple[int, str, str]


def check(*arguments: str, **changes: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "manage.py", "check", *arguments],
        env=environment(**changes),
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def outcomes(django_db_setup: None, django_db_blocker: Any) -> dict[str, Outcome]:
    """Exit code, output and complaints of `manage.py check` in each of the cases."""
    cases = [*SAFE, *(changes for changes, _ in UNSAFE)]
    with django_db_blocker.unblock():
        given = json.dumps([environment(**changes) for changes in cases])
    done = subprocess.run([sys.executable, "-c", CHECK], input=given, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {repr(case): tuple(answer) for case, answer in zip(cases, json.loads(done.stdout), strict=True)}


@pytest.mark.parametrize(("changes", "complaint"), UNSAFE)
def test_unsafe_settings_are_refused(outcomes: dict[str, Outcome], changes: dict[str, str], complaint: str) -> None:
    code, _, complaints = outcomes[repr(changes)]
    assert code != 0
    assert complaint in complaints
    said = complaints.rsplit("ImproperlyConfigured", 1)[-1]
    assert "planted" not in said and "0123456789" not in said
    assert "Traceback" not in complaints


def test_all_problems_are_listed_at_once(database: None) -> None:
    done = check(DJANGO_SECRET_KEY="short", DJANGO_ALLOWED_HOSTS="*", LUNAOS_PUBLIC_URL="http://lunaos.example.com")
    assert all(name in done.stderr for name in ("DJANGO_SECRET_KEY", "DJANGO_ALLOWED_HOSTS", "LUNAOS_PUBLIC_URL"))


@pytest.mark.parametrize("changes", SAFE)
def test_safe_settings_start(outcomes: dict[str, Outcome], changes: dict[str, str]) -> None:
    assert outcomes[repr(changes)][:2] == (0, "System check identified no issues (0 silenced).\n")


def test_production_passes_the_deployment_check(database: None) -> None:
    """Checks are silenced in the settings only, each with its reason."""
    done = check("--deploy", "--fail-level", "WARNING", **PRODUCTION)
    assert (done.returncode, done.stdout) == (0, "System check identified no issues (3 silenced).\n"), done.stderr


def test_the_example_of_the_environment_is_usable_as_it_is(database: None) -> None:
    """A shell sources the file; empty variables must count as not set."""
    needed = f'DJANGO_SECRET_KEY={secrets.token_urlsafe(48)}; DATABASE_URL="$D"; REDIS_URL="$R"'
    script = f'set -a; . ./.env.example; {needed}; set +a; "$P" manage.py check'
    known = environment()
    variables = {"D": known["DATABASE_URL"], "R": known["REDIS_URL"], "P": sys.executable, "PATH": known["PATH"]}
    done = subprocess.run(["sh", "-c", script], env=variables, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_example_names_every_variable(database: None) -> None:
    source = (ROOT / "lunaos" / "settings.py").read_text()
    named = set(re.findall(r'(?:env|variables)\.\w+\(\s*"([A-Z_]+)"', source))
    listed = set(re.findall(r"^([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert named <= listed


def test_a_removed_variable_stops_the_start_and_names_its_replacement(monkeypatch: Any) -> None:
    monkeypatch.setattr(env_variables, "REMOVED", {"LUNAOS_OLD": "set LUNAOS_NEW", "LUNAOS_UNSET": "set nothing"})
    monkeypatch.setenv("LUNAOS_OLD", "1")
    with pytest.raises(ImproperlyConfigured, match=r"^LUNAOS_OLD is not read any more: set LUNAOS_NEW$"):
        env_variables.refuse_removed()


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
