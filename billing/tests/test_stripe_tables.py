"""dj-stripe's tables in one migration: the same as its own many make."""

import os
import subprocess
import sys
from typing import Any

import pytest
from django.conf import settings
from django.contrib import admin
from django.core.management import call_command
from django.db import connection
from djstripe.models import APIKey

from testing.servers import ROOT, environment
from testing.stripe import Stripe

DESCRIBE = """
    SELECT table_name, column_name, data_type, is_nullable, character_maximum_length, numeric_precision
    FROM information_schema.columns WHERE table_name LIKE 'djstripe%' ORDER BY 1, 2
"""
CONSTRAINTS = """
    SELECT conrelid::regclass::text, contype, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE conrelid::regclass::text LIKE 'djstripe%' ORDER BY 1, 2, 3
"""


def tables() -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(DESCRIBE)
        columns = cursor.fetchall()
        cursor.execute(CONSTRAINTS)
        return [*columns, *cursor.fetchall()]


@pytest.fixture
def its_own_migrations(database: None, tmp_path: Any) -> Any:
    """A database that was made with them, in half a minute."""
    name = f"{connection.settings_dict['NAME']}_djstripe"
    with connection.cursor() as cursor:
        cursor.execute(f'CREATE DATABASE "{name}"')
    changed = environment()
    changed["DATABASE_URL"] = changed["DATABASE_URL"].rpartition("/")[0] + f"/{name}"
    (tmp_path / "plain_settings.py").write_text("from lunaos.settings import *\nMIGRATION_MODULES = {}\n")
    changed |= {"DJANGO_SETTINGS_MODULE": "plain_settings", "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    yield changed
    with connection.cursor() as cursor:
        cursor.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def test_they_are_the_same(its_own_migrations: dict[str, str]) -> None:
    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments], cwd=ROOT, env=its_own_migrations, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("manage.py", "migrate", "djstripe", "--verbosity", "0")
    code = "import django; django.setup()\nfrom billing.tests import test_stripe_tables as t\nprint(t.tables())"
    assert run("-c", code).strip() == str(tables())


def test_a_new_version_of_dj_stripe_would_be_noticed(database: None) -> None:
    call_command("makemigrations", "djstripe", check=True, dry_run=True, verbosity=0)


def test_nothing_of_it_is_in_the_admin_but_ours(database: None) -> None:
    shown = {model.__name__ for model in admin.site._registry if model._meta.app_label == "djstripe"}
    assert shown == {"Subscription", "Invoice"}


def test_the_key_is_not_stored(stripe: Stripe, alice: Any) -> None:
    stripe.subscribe(alice)
    assert not APIKey.objects.exists()
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names():
            cursor.execute(
                f'SELECT count(*) FROM "{table}" AS row WHERE row::text LIKE %s', [f"%{settings.STRIPE_KEY}%"]
            )
            assert cursor.fetchone() == (0,), table
