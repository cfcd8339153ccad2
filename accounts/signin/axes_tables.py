"""Personal data in the tables that django-axes has left behind."""

# Releases up to 2026-11-30 kept lockout counters and known addresses in these tables, and their processes still use
# the tables while an upgrade is under way. A new installation does not have the tables. Remove this module together
# with the tables, in the release after this one.

from datetime import datetime

from django.db import connection

ATTEMPTS, ADDRESSES = "axes_accessattempt", "axes_accesslog"


def delete_of(email: str) -> None:
    for table in _existing_tables():
        _execute(f"DELETE FROM {table} WHERE username = %s", email)  # noqa: S608 - a constant


def delete_before(*, attempts: datetime, addresses: datetime) -> None:
    """Delete attempts and addresses that are older than the given times."""
    existing = _existing_tables()
    for table, oldest in ((ATTEMPTS, attempts), (ADDRESSES, addresses)):
        if table in existing:
            _execute(f"DELETE FROM {table} WHERE attempt_time < %s", oldest)  # noqa: S608 - a constant


def _existing_tables() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT name FROM unnest(%s::text[]) AS name WHERE to_regclass(name) IS NOT NULL", [[ATTEMPTS, ADDRESSES]]
        )
        return [name for (name,) in cursor.fetchall()]


def _execute(statement: str, value: str | datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, [value])
