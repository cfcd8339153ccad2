"""An upgrade from a release that kept the lockout in the tables of django-axes."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth import BACKEND_SESSION_KEY, authenticate, get_user, login
from django.contrib.sessions.backends.db import SessionStore
from django.db import connection
from django.http import HttpRequest

from accounts.models import KnownAddress, SignInCounter
from accounts.signin import lockout
from testing.client import PASSWORD

# The columns of django-axes 8.3 that the release before wrote.
CREATE_TABLES = """
    CREATE TABLE axes_accessattempt (
        id serial PRIMARY KEY, user_agent varchar(255) NOT NULL, ip_address inet, username varchar(255),
        attempt_time timestamptz NOT NULL, failures_since_start integer NOT NULL,
        UNIQUE (username, ip_address, user_agent)
    );
    CREATE TABLE axes_accesslog (
        id serial PRIMARY KEY, ip_address inet, username varchar(255), attempt_time timestamptz NOT NULL
    );
"""
DROP_TABLES = "DROP TABLE axes_accessattempt, axes_accesslog"
HOME = "192.0.2.1"


def execute(statement: str, *values: Any) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values or None)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def axes_tables(database: None) -> Iterator[None]:
    execute(CREATE_TABLES)
    yield
    execute(DROP_TABLES)


def add_counter(email: str, address: str, scope: str, failures: int, at: datetime) -> None:
    columns = "username, ip_address, user_agent, failures_since_start, attempt_time"
    execute(
        f"INSERT INTO axes_accessattempt ({columns}) VALUES (%s, %s, %s, %s, %s)", email, address, scope, failures, at
    )


def add_address(email: str, address: str, at: datetime) -> None:
    execute("INSERT INTO axes_accesslog (username, ip_address, attempt_time) VALUES (%s, %s, %s)", email, address, at)


def copy_rows() -> None:
    """Run the data statement of the migration."""
    execute(import_module("accounts.migrations.0010_lockout").COPY)


def test_a_current_lockout_goes_on(alice: Any, axes_tables: None, at: Any) -> None:
    locked_at = datetime.now(UTC) - timedelta(minutes=1)
    add_counter(alice.email, HOME, "address", django_settings.LOCKOUT_FAILURES, locked_at)
    copy_rows()
    at(HOME)
    assert lockout.count_attempt(alice.email) is None
    assert SignInCounter.objects.get(email=alice.email, scope="address").counted_since == locked_at
    SignInCounter.objects.filter(email=alice.email).update(counted_since=locked_at - timedelta(minutes=15))
    assert lockout.count_attempt(alice.email)


def test_failures_go_on_counting(alice: Any, axes_tables: None, at: Any) -> None:
    add_counter(alice.email, HOME, "address", 3, datetime.now(UTC))
    add_counter(alice.email, lockout.ANY_ADDRESS, "account", 7, datetime.now(UTC))
    copy_rows()
    at(HOME)
    attempt = lockout.count_attempt(alice.email)
    assert attempt and (attempt.address_count, attempt.account_count) == (4, 8)


def test_known_addresses_stay_known(alice: Any, axes_tables: None, at: Any) -> None:
    now = datetime.now(UTC)
    add_address(alice.email, HOME, now - timedelta(days=2))
    add_address(alice.email, HOME, now - timedelta(days=1))  # two parallel sign-ins could add an address twice
    copy_rows()
    assert KnownAddress.objects.get(email=alice.email).last_seen_at == now - timedelta(days=1)
    at(HOME)
    attempt = lockout.count_attempt(alice.email)
    assert attempt and attempt.account_count is None


def test_a_new_installation_has_nothing_to_copy(database: None) -> None:
    before = SignInCounter.objects.count(), KnownAddress.objects.count()
    copy_rows()
    assert (SignInCounter.objects.count(), KnownAddress.objects.count()) == before


def test_the_old_rows_of_a_deleted_account_are_deleted(alice: Any, bob: Any, axes_tables: None) -> None:
    for user in (alice, bob):
        add_counter(user.email, HOME, "address", 1, datetime.now(UTC))
        add_address(user.email, HOME, datetime.now(UTC))
    lockout.delete_records(alice.email)
    assert execute("SELECT username FROM axes_accessattempt") == [(bob.email,)]
    assert execute("SELECT username FROM axes_accesslog") == [(bob.email,)]


def test_expired_old_rows_are_deleted(alice: Any, axes_tables: None) -> None:
    add_counter(alice.email, HOME, "address", 1, datetime.now(UTC) - timedelta(minutes=16))
    add_address(alice.email, HOME, datetime.now(UTC) - timedelta(days=89))
    add_address(alice.email, "192.0.2.2", datetime.now(UTC) - timedelta(days=91))
    lockout.delete_expired()
    assert execute("SELECT count(*) FROM axes_accessattempt") == [(0,)]
    assert execute("SELECT host(ip_address) FROM axes_accesslog") == [(HOME,)]


def test_staff_sessions_survive(make_user: Any, at: Any) -> None:
    """Sessions name the backend that signed the user in, which is and was ModelBackend."""
    staff_user = make_user("staff", is_staff=True)
    request = HttpRequest()
    request.session = SessionStore()
    user = authenticate(request, username=staff_user.email, password=PASSWORD)
    assert user is not None
    login(request, user)
    assert request.session[BACKEND_SESSION_KEY] == "django.contrib.auth.backends.ModelBackend"
    assert get_user(request) == staff_user
