"""Outages of PostgreSQL: refusals, locks, and a server that does not answer."""

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.db import OperationalError, connection, transaction

from accounts.models import User
from billing.payments import customer_locks
from lunaos.api import exceptions
from lunaos.infra.postgresql import connections, limits
from lunaos.infra.postgresql.base import writes_refused_within
from lunaos.infra.postgresql.limits import Limits

Use = Callable[[Limits], None]


@pytest.fixture
def use(database: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Use]:
    """Set this process's limits for the test."""
    monkeypatch.setattr(limits, "MARGIN_S", 0.2)

    def use(wanted: Limits) -> None:
        monkeypatch.setattr(limits, "_of_process", wanted)
        connection.close()

    yield use
    connection.close()
    connections._silent.clear()


def shown(name: str) -> str:
    with connection.cursor() as cursor:
        return str(cursor.execute(f"SHOW {name}").fetchone()[0])


def other() -> "psycopg.Connection[Any]":
    parameters = connection.get_connection_params()
    return psycopg.connect(**{key: parameters[key] for key in ("dbname", "user", "host") if key in parameters})


@pytest.mark.parametrize("state", ["25006", "25P03", "53100", "53200", "53300", "57P01", "57P03", "57014", "55P03"])
def test_each_outage_is_503(database: None, state: str) -> None:
    with pytest.raises(OperationalError) as caught, connection.cursor() as cursor:
        cursor.execute(f"DO $$ BEGIN RAISE EXCEPTION 'planted' USING ERRCODE = '{state}'; END $$")
    status, body, headers = exceptions.body_and_headers(caught.value)
    assert (status, body["code"]) == (503, "service_unavailable")
    assert int(headers["Retry-After"]) > 0


def test_a_server_that_only_reads(alice: Any) -> None:
    with pytest.raises(OperationalError, match="read-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION READ ONLY; UPDATE accounts_user SET name = 'changed'")
    assert writes_refused_within(60)


def test_a_connection_has_the_limits_of_its_process(use: Use) -> None:
    use(Limits(1.5, 4))
    assert (shown("lock_timeout"), shown("statement_timeout")) == ("1500ms", "4s")
    assert connection.connection.limit_s == 4.2
    use(limits.NONE)
    assert (shown("lock_timeout"), shown("statement_timeout"), connection.connection.limit_s) == ("0", "0", None)


def test_a_lock_and_a_long_statement_end(alice: Any, use: Use) -> None:
    use(Limits(0.05, 0.3))
    with other() as holder:
        holder.execute("SELECT 1 FROM accounts_user WHERE id = %s FOR UPDATE", [alice.pk])
        with pytest.raises(OperationalError, match="lock timeout"):
            User.objects.filter(pk=alice.pk).update(name="changed")
    with pytest.raises(OperationalError, match="statement timeout"), connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(60)")


@pytest.mark.parametrize("in_transaction", [False, True])
def test_a_lock_that_is_waited_for_restores_the_limits(use: Use, in_transaction: bool) -> None:
    use(Limits(1, 2))
    with transaction.atomic() if in_transaction else customer_locks.locked("a"):
        if in_transaction:
            customer_locks.lock_until_commit("b")
        assert (shown("lock_timeout"), shown("statement_timeout")) == ("1s", "2s")
        assert connection.connection.limit_s == 2.2
    with limits.waiting(20):
        assert (shown("lock_timeout"), shown("statement_timeout")) == ("20s", "20200ms")
    assert shown("lock_timeout") == "1s"


def test_a_block_that_fails_restores_the_limits(use: Use) -> None:
    use(Limits(1, 2))
    with pytest.raises(OperationalError), limits.within(Limits(0.05, 0.05)), connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(60)")
    assert shown("statement_timeout") == "2s"
    with pytest.raises(OperationalError), transaction.atomic(), limits.within(Limits(0.05, 0.05)):
        connection.cursor().execute("SELECT pg_sleep(60)")
    assert (shown("statement_timeout"), connection.connection.limit_s) == ("2s", 2.2)


def test_a_stopped_server_is_given_up_by_the_client(use: Use) -> None:
    use(Limits(0.2, 0.2))
    with connection.cursor() as cursor:
        backend = cursor.execute("SELECT pg_backend_pid()").fetchone()[0]
    os.kill(backend, signal.SIGSTOP)
    try:
        with pytest.raises(OperationalError, match="has not answered for"), connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        with connections._probe, pytest.raises(OperationalError, match="does not answer"):
            connection.ensure_connection()  # others are not kept waiting by what one has found out
    finally:
        os.kill(backend, signal.SIGCONT)
    assert User.objects.count() == 0
    assert not connections._silent.is_set()
