"""testing.migrations, the part of `make lint` that keeps old code running beside a new schema."""

import subprocess
import sys
from pathlib import Path

import pytest

from testing import migrations
from testing.servers import ROOT, environment

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


def lint(folder: Path, operation: str) -> "subprocess.CompletedProcess[str]":
    """What is said of an app with one more migration."""
    (folder / "planted" / "migrations").mkdir(parents=True)
    second = f'    dependencies = [("planted", "0001_initial")]\n    operations = [{operation}]\n'
    for name, content in (("__init__", ""), ("0001_initial", FIRST), ("0002_more", HEAD + second)):
        (folder / "planted" / "migrations" / f"{name}.py").write_text(content)
    (folder / "planted" / "__init__.py").touch()
    (folder / "planted_settings.py").write_text('from lunaos.settings import *\nINSTALLED_APPS += ["planted"]\n')
    changes = {"DJANGO_SETTINGS_MODULE": "planted_settings", "PYTHONPATH": str(folder)}
    command = [sys.executable, "-m", "testing.migrations"]
    return subprocess.run(command, cwd=ROOT, env=environment(**changes), capture_output=True, text=True)


def test_it_works(database: None, tmp_path: Path) -> None:
    done = lint(tmp_path, ADDS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("looked at, 0 break the release before.\n")


@pytest.mark.parametrize(
    ("operation", "reason"),
    [(DROPS, "DROPPING columns"), (RENAMES, "RENAMING columns"), (FILLS, "NOT NULL constraint")],
)
def test_what_breaks_old_code_fails(database: None, tmp_path: Path, operation: str, reason: str) -> None:
    done = lint(tmp_path, operation)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "(planted, 0002_more)... ERR" in done.stdout and reason in done.stdout


def test_the_lists_name_what_is_there() -> None:
    for name in (*(f"{app}.{last}" for app, last in migrations.BASELINE.items()), *migrations.HARMLESS):
        app, _, migration = name.partition(".")
        assert (ROOT / app / "migrations" / f"{migration}.py").is_file()
    assert all(migrations.HARMLESS.values())
