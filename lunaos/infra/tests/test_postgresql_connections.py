"""A database connection that the server has closed is not used again."""

from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from psycopg import connect

from accounts.models import User


def end_it() -> None:
    """Close the connection as a restart of the server does."""
    parameters = connection.get_connection_params()
    mine = connection.connection.info.backend_pid
    with connect(**{key: parameters[key] for key in ("dbname", "user", "host") if key in parameters}) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [mine])


def test_the_next_query_connects_anew(alice: Any) -> None:
    before = connection.connection
    end_it()
    assert User.objects.get(pk=alice.pk) == alice
    assert connection.connection is not before


def test_so_does_the_next_transaction(alice: Any) -> None:
    end_it()
    with transaction.atomic():
        assert User.objects.get(pk=alice.pk) == alice


def test_a_transaction_that_was_under_way_fails(alice: Any) -> None:
    def lose_it() -> None:
        with transaction.atomic():
            User.objects.filter(pk=alice.pk).update(name="changed")
            end_it()
            User.objects.filter(pk=alice.pk).update(name="changed again")

    with pytest.raises(OperationalError):
        lose_it()
    assert User.objects.get(pk=alice.pk).name == alice.name


def test_a_healthy_connection_is_kept(alice: Any) -> None:
    before = connection.connection
    for _ in range(3):
        User.objects.get(pk=alice.pk)
    assert connection.connection is before
