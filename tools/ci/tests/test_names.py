"""Names that releases share do not change by accident."""

import re
from typing import Any

import pytest
from celery import Celery
from django.apps import apps
from django.db import connection

from accounts.auditlog import alerts
from lunaos.celery import app
from lunaos.infra import redis
from testing.client import PASSWORD, Api
from testing.loopback.upstream import Upstream
from tools.ci import names
from web import tasks as web_tasks

OF_KOMBU = r"_kombu\..+|unacked.*|celery|chains|indexing"
RECORDED = names.read(names.SNAPSHOT.read_text())


@pytest.fixture(scope="module")
def found() -> dict[str, list[str]]:
    """Return the names of this checkout."""
    return names.collect()


def test_all_kinds_are_recorded() -> None:
    assert list(RECORDED) == list(names.KINDS)
    assert names.as_text(RECORDED) == names.SNAPSHOT.read_text()


@pytest.mark.parametrize("kind", names.KINDS)
def test_no_name_is_gone(kind: str, found: dict[str, list[str]]) -> None:
    gone = set(RECORDED[kind]) - set(found[kind])
    assert not gone, f"{kind}: {sorted(gone)} are gone; releases share them. Put them back, or run make names."


@pytest.mark.parametrize("kind", names.KINDS)
def test_every_new_name_is_recorded(kind: str, found: dict[str, list[str]]) -> None:
    new = set(found[kind]) - set(RECORDED[kind])
    assert not new, f"{kind}: {sorted(new)} are new. Run make names to record them."


def test_no_celery_task_has_a_derived_name() -> None:
    derived = []

    class Recorder(Celery):
        def gen_task_name(self, name: str, module: str) -> str:
            derived.append(f"{module}.{name}")
            return f"{module}.{name}"

    app.loader.import_default_modules()
    Recorder(set_as_current=False).finalize()
    assert derived == []


def test_the_database_has_the_recorded_columns_and_no_other(database: None) -> None:
    tables = {model._meta.db_table for model in apps.get_models(include_auto_created=True)}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = current_schema()"
        )
        found: set[tuple[Any, Any]] = set(cursor.fetchall())
    columns = {f"{table}.{column}" for table, column in found if table in tables}
    assert columns == set(RECORDED["Columns"])


def test_valkey_holds_no_key_of_another_pattern(
    api: Api, chains_worker: object, jobs_process: object, alice: Any, upstream: Upstream, settings: Any
) -> None:
    """Keys of our own cache begin with `lunaos:1:`, then `rl:` in django-ratelimit's."""
    settings.ALARM_EMAILS = ["ops@example.com"]
    api.execute(alice)
    api.execute_chain(alice, "code-review", "testing-validation")
    api.post("/rag/index", json={"files": [{"path": "a.py", "content": "a = 1\n"}]}, headers=api.as_(alice))
    api.post("/auth/signup", json={"email": "newcomer@example.com", "password": PASSWORD})
    api.post("/auth/login", json={"email": alice.email, "password": "wrong"})
    api.get("/auth/export", headers=api.as_(alice))
    assert api.get("/health").is_success
    alerts.send("names_are_compared", "A test looks at keys.")
    web_tasks.measure_event_log()
    web_tasks.worker_heartbeat()

    patterns = [_as_pattern(key) for key in RECORDED["Valkey keys and channels"]]
    known = re.compile(f"(lunaos:1:)?({'|'.join(patterns)})|lunaos:1:rl:[0-9a-f]+|{OF_KOMBU}")
    keys = sorted(bytes(key).decode() for key in redis.client().scan_iter())
    assert len(keys) > 8
    assert [key for key in keys if not known.fullmatch(key)] == []


def _as_pattern(key: str) -> str:
    """Return a regular expression for a key that varies or is continued elsewhere."""
    return re.escape(f"{key}{{}}" if key.endswith(":") else key).replace(r"\{\}", ".+")
