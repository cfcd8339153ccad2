"""Our one migration creates the same dj-stripe tables as its own many."""

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import djstripe
from django.conf import settings
from django.contrib import admin
from django.core.management import call_command
from django.db import connection
from django.db.migrations import Migration
from django.db.migrations.loader import MigrationLoader
from djstripe.models import APIKey

from testing.servers import ROOT, environment
from testing.stripe import Stripe


def test_dj_stripes_own_migrations_give_the_same_tables(database: None, tmp_path: Path) -> None:
    """dj-stripe's migrations end at its models, as ours does; none has further SQL."""
    (tmp_path / "plain_settings.py").write_text("from lunaos.settings import *\nMIGRATION_MODULES = {}\n")
    path = {"DJANGO_SETTINGS_MODULE": "plain_settings", "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, "manage.py", "makemigrations", "djstripe", "--check", "--dry-run"],
        cwd=ROOT,
        env={**environment(), **path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    folder = Path(djstripe.__file__).parent / "migrations"
    by_hand = {file.name for file in folder.glob("0*.py") if "RunSQL" in file.read_text()}
    assert by_hand == set()


def test_the_statements_are_those_of_django(database: None) -> None:
    migration = import_module("billing.stripe_tables.migrations.0001_initial")
    by_models = type("ByModels", (Migration,), {"operations": migration.MODELS})("0001_initial", "djstripe")
    before = MigrationLoader(connection).project_state([("accounts", "0001_initial")])
    with connection.schema_editor(collect_sql=True) as editor:
        by_models.apply(before, editor, collect_sql=True)
    collected = [line for line in editor.collected_sql if not line.startswith("--")]
    assert migration.TABLES.splitlines() == collected


def test_a_new_version_of_dj_stripe_would_be_noticed(database: None) -> None:
    call_command("makemigrations", "djstripe", check=True, dry_run=True, verbosity=0)


def test_only_our_pages_of_its_tables_are_in_the_admin(database: None) -> None:
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
