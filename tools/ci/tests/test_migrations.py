"""tools.ci.migrations: old code must run beside a new schema."""

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from testing.servers import ROOT, environment

pytest.importorskip("django_migration_linter", reason="see requirements/ci.in")
from tools.ci import migrations

HEAD = "from django.db import migrations, models\nclass Migration(migrations.Migration):\n"
FIRST = (
    HEAD + '    operations = [migrations.CreateModel("Thing", [("id", models.BigAutoField(primary_key=True)), '
    '("name", models.TextField())])]\n'
)
DROPS = 'migrations.RemoveField("thing", "name")'
ADDS = 'migrations.AddField("thing", "note", models.TextField(null=True))'
FILLS = (
    'migrations.AddField("thing", "size", models.IntegerField(default=0)), '
    'migrations.CreateModel("Other", [("id", models.BigAutoField(primary_key=True))])'
)
RENAMES = 'migrations.RenameField("thing", "name", "title")'


def lint(folder: Path, **operations: str) -> "subprocess.CompletedProcess[str]":
    """Lint apps that have one more migration each."""
    for app, operation in operations.items():
        (folder / app / "migrations").mkdir(parents=True)
        second = f'    dependencies = [("{app}", "0001_initial")]\n    operations = [{operation}]\n'
        for name, content in (("__init__", ""), ("0001_initial", FIRST), ("0002_more", HEAD + second)):
            (folder / app / "migrations" / f"{name}.py").write_text(content)
        (folder / app / "__init__.py").touch()
    settings = f"from lunaos.settings import *\nINSTALLED_APPS += {list(operations)}\n"
    (folder / "planted_settings.py").write_text(settings)
    changes = {"DJANGO_SETTINGS_MODULE": "planted_settings", "PYTHONPATH": str(folder)}
    command = [sys.executable, "-m", "tools.ci.migrations"]
    return subprocess.run(command, cwd=ROOT, env=environment(**changes), capture_output=True, text=True)


def test_it_works(database: None, tmp_path: Path) -> None:
    done = lint(tmp_path, planted=ADDS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("checked, 0 break the release before.\n")


def test_what_breaks_old_code_fails(database: None, tmp_path: Path) -> None:
    done = lint(tmp_path, drops=DROPS, renames=RENAMES, fills=FILLS)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout.endswith("checked, 3 break the release before.\n")
    said = done.stdout.split("... ERR")
    for app, reason in {
        "drops": "DROPPING columns",
        "fills": "NOT NULL constraint",
        "renames": "RENAMING columns",
    }.items():
        (after,) = (after for before, after in pairwise(said) if before.endswith(f"({app}, 0002_more)"))
        assert reason in after


def test_the_lists_name_what_is_there() -> None:
    for name in (*(f"{app}.{last}" for app, last in migrations.BASELINE.items()), *migrations.HARMLESS):
        app, _, migration = name.partition(".")
        assert (ROOT / app / "migrations" / f"{migration}.py").is_file()
    assert all(migrations.HARMLESS.values())
