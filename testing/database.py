"""The database of a test process: copied from a template, cleared between tests."""

import asyncio
import hashlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.db import connection
from django.db.backends.postgresql.client import DatabaseClient

from lunaos.backup import programs
from lunaos.infra import event_loop, redis
from testing.servers import ROOT

# What the migrations make, as a dump named by their hash, so that later runs need not migrate. A clean checkout, as CI
# has it, runs the migrations.
KEPT = ROOT / "build" / "test-database"
TEMPLATE_LOCK = 0x7465_7374  # the key of PostgreSQL's advisory lock
# Rows that tests leave behind, with all rows that refer to them by a foreign key.
CLEARED = (
    *("accounts_user", "accounts_auditrepeat", "runs_text", "runs_step", "runs_hourlyfigures", "runs_backlog"),
    *("djstripe_customer", "djstripe_subscription", "djstripe_invoice", "djstripe_charge", "djstripe_dispute"),
    *("refusals_refusal", "runs_dailyspending", "rag_file", "rag_chunk", "rag_vector", "rag_term"),
)
REFERENCES = """
    SELECT conrelid::regclass::text, confrelid::regclass::text, attname, attnotnull FROM pg_constraint
    JOIN pg_attribute ON attrelid = conrelid AND attnum = conkey[1] WHERE contype = 'f' AND conrelid <> confrelid
"""


def create(name: str) -> None:
    """Make a database with tables, catalogue and partitions, and connect to it."""
    template = f"{connection.settings_dict['NAME']}_template_{_hash()}"
    with _server() as cursor:
        cursor.execute("SET lock_timeout = 0")  # migrations take longer than a request may wait
        cursor.execute("SELECT pg_advisory_lock(%s)", [TEMPLATE_LOCK])  # of the test processes the first makes it
        cursor.execute("SELECT FROM pg_database WHERE datname = %s", [template])
        if cursor.fetchone() is None:
            _make_template(cursor, template)
        cursor.execute("SELECT pg_advisory_unlock(%s)", [TEMPLATE_LOCK])
        _drop(cursor, name)
        cursor.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    _connect_to(name)


def drop(name: str, before: str) -> None:
    """Drop this process's database, and connect to the one before."""
    event_loop.submit(_cancel_tasks()).result()  # heartbeats would miss the database
    _connect_to(before)
    with _server() as cursor:
        _drop(cursor, name)


async def _cancel_tasks() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def clear() -> None:
    """Delete the rows that tests have left; catalogue, tiers and audit trail stay."""
    with connection.cursor() as cursor:
        statements = _clearing()
        cursor.execute(_looking())
        found = {number for (number,) in cursor.fetchall()}
        if found:
            cursor.execute(";".join(statement for number, (_, statement) in enumerate(statements) if number in found))


def clear_valkey() -> None:
    keys = (bytes(key) for key in redis.client().scan_iter(count=1000))
    # Without its bindings a queue that is in use would lose messages.
    if left := [key for key in keys if not key.startswith(b"_kombu")]:
        redis.client().unlink(*left)


@contextmanager
def _server() -> Iterator[Any]:
    # Outside the database, for statements about databases.
    connection.close()
    with connection._nodb_cursor() as cursor:
        yield cursor


def _make_template(cursor: Any, name: str) -> None:
    # Under another name until it is complete: a killed test process leaves nothing that looks usable.
    before, new = connection.settings_dict["NAME"], f"{name}_new"
    _drop(cursor, new)
    cursor.execute(f'CREATE DATABASE "{new}" TEMPLATE template0')
    _connect_to(new)
    try:
        migrate()
        _fill()
    finally:
        _connect_to(before)
    cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [new])
    cursor.execute(f'ALTER DATABASE "{new}" RENAME TO "{name}"')


def migrate() -> None:
    """Migrate this process's empty database, or fill it from a dump."""
    reach, variables = DatabaseClient.settings_to_cmd_args_env(connection.settings_dict, [])
    if not restore(*reach[1:], **(variables or {})):
        call_command("migrate", verbosity=0, interactive=False)
        _keep(*reach[1:], **(variables or {}))


def restore(*reach: str, **variables: str) -> bool:
    """Fill an empty database from the dump; return False if there is none."""
    if kept := _kept().exists():
        words = ["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--output", os.devnull, "--file", str(_kept())]
        _run(["psql", *words, *reach], variables)
    return kept


def _keep(*reach: str, **variables: str) -> None:
    KEPT.mkdir(parents=True, exist_ok=True)
    new = _kept().with_suffix(f".{os.getpid()}")
    _run(["pg_dump", "--no-owner", "--no-privileges", "--no-comments", "--file", str(new), *reach], variables)
    new.rename(_kept())
    for old in set(KEPT.glob("*.sql")) - {_kept()}:
        old.unlink(missing_ok=True)


def _kept() -> Path:
    return KEPT / f"{_hash()}.sql"


def _fill() -> None:
    from agents import loader
    from billing.models import Tier
    from refusals import partitions as refusal_partitions
    from runs import partitions

    Tier.objects.filter(name=Tier.FREE).update(executions_at_once=50)  # tests leave runs under way as alice
    partitions.ensure()
    refusal_partitions.ensure()
    loader.load()


@cache
def _hash() -> str:
    # All that decides what the migrations make: our own, and the versions of the packages.
    files = sorted([*ROOT.glob("*/migrations/*.py"), *ROOT.glob("*/*/migrations/*.py"), ROOT / "requirements.txt"])
    content = b"".join(str(file.relative_to(ROOT)).encode() + file.read_bytes() for file in files)
    return hashlib.sha256(content).hexdigest()[:16]


def _run(argv: list[str], variables: dict[str, str]) -> None:
    command = [programs.find_program(argv[0]), *argv[1:]]
    done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def _drop(cursor: Any, name: str) -> None:
    cursor.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def _connect_to(name: str) -> None:
    connection.close()
    connection.settings_dict["NAME"] = name


@cache
def _clearing() -> list[tuple[str, str]]:
    """Return the tables to check, and the statements that clear them, children first."""
    found: dict[str, tuple[str, str]] = {}
    with connection.cursor() as cursor:
        cursor.execute(REFERENCES)
        references = cursor.fetchall()

    def add(table: str) -> None:
        for child, parent, column, is_required in references:
            if parent == table and is_required and child not in found:
                add(child)
            elif parent == table and not is_required:
                left = f"{child} WHERE {column} IS NOT NULL"
                found.setdefault(left, (left, f"UPDATE {child} SET {column} = NULL WHERE {column} IS NOT NULL"))
        found.setdefault(table, (table, f"DELETE FROM {table}"))

    for table in CLEARED:
        add(table)
    return list(found.values())


@cache
def _looking() -> str:
    # One statement that names the numbers of the others that have rows to delete.
    looks = [f"SELECT {n} WHERE EXISTS (SELECT FROM {left})" for n, (left, _) in enumerate(_clearing())]
    return " UNION ALL ".join(looks)
