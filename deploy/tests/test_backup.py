"""`manage.py backup` and `restore`: the drill, and every way in which neither may lose anything."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection

from billing import grants
from lunaos.backup import backup_store, manifest
from lunaos.backup.errors import BackupDamaged, BackupError
from lunaos.backup.programs import find_program
from testing.client import PASSWORD, Api
from testing.loopback.embeddings import EmbeddingsServer
from testing.loopback.upstream import Upstream
from testing.servers import ROOT, daphne, environment

COPY = f"restored_{os.getpid()}"
VALKEY_DATABASE = 10  # emptied by a restore; parallel test processes have those from 0 on
RUN = {"agent": "code-review", "context": "x"}
FILES = [{"path": "auth.py", "content": "def verify(user, secret):\n    return check(secret, user.password_hash)\n"}]


@pytest.fixture
def copy(database: None) -> Iterator[dict[str, str]]:
    """Return the environment of processes on a second database, which is empty."""
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {COPY} TEMPLATE template0")
    server = os.environ["DATABASE_URL"].rpartition("/")[0]
    redis = f"{os.environ['REDIS_URL'].split('?')[0]}?db={VALKEY_DATABASE}"
    try:
        yield {"DATABASE_URL": f"{server}/{COPY}", "REDIS_URL": redis}
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE {COPY} WITH (FORCE)")


def manage(*words: str | Path, **changes: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "manage.py", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, env=environment(**changes), capture_output=True, text=True)


def works(*words: str | Path, **changes: str) -> str:
    """Run a command that succeeds, and return its output."""
    done = manage(*words, **changes)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def refused(*words: str | Path, **changes: str) -> str:
    """Run a command that fails, and return its error output."""
    done = manage(*words, **changes)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stdout + done.stderr
    return done.stderr


def query(statement: str, copy: dict[str, str]) -> str:
    """Query the second database with psql."""
    host, user = str(connection.settings_dict["HOST"]), str(connection.settings_dict["USER"])
    command = [find_program("psql"), "-h", host, "-U", user, "-AtXc", statement, COPY]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def answers_of(api: Api, key: dict[str, str], user: Any) -> list[Any]:
    """Return what a user sees of the restored data, by password and by key."""
    login = api.post("/auth/login", json={"email": user.email, "password": PASSWORD})
    assert login.status_code == 200, login.text
    session = {"Authorization": f"Bearer {login.json()['data']['token']}"}
    search = api.post("/rag/search", json={"query": "check the password"}, headers=session).json()["data"]["results"]
    assert search[0]["path"] == "auth.py"
    listed = api.get("/runs", headers=key).json()["data"]["runs"]
    run = api.get(f"/runs/{listed[0]['id']}", headers=session).json()["data"]
    usage = api.get("/billing/usage", headers=session).json()["data"]
    return [search, listed, run, usage, api.get("/billing/subscription", headers=session).json()["data"]]


def test_it_works(
    copy: dict[str, str], alice: Any, upstream: Upstream, folder: Path, tmp_path: Path, provider_environment: Any
) -> None:
    """The drill: people, a run, a key, code with its vectors, a grant; away, back elsewhere, and the same answers."""
    grants.grant(user=alice, tier="pro", reason="A friend.")
    with EmbeddingsServer() as embeddings:
        server = {**provider_environment, "EMBEDDINGS_BASE_URL": embeddings.base_url}
        with daphne(folder / "drill.log", "/ready", **server) as url, Api(base_url=url, timeout=60) as api:
            key = api.with_key(alice)
            assert api.execute(alice).status_code == 200
            assert api.post("/rag/index", json={"files": FILES}, headers=api.as_(alice)).status_code == 200
            before = answers_of(api, key, alice)
        backup = works("backup", "--folder", tmp_path)
        works("restore", backup, **copy)
        with daphne(folder / "drill.log", "/ready", **server, **copy) as url, Api(base_url=url, timeout=60) as api:
            assert answers_of(api, key, alice) == before
            assert api.get("/auth/me", headers=api.as_(alice)).status_code == 401  # sessions of that time are ended
            again = api.post("/agents/execute", json=RUN, headers=key)
            assert again.status_code == 200  # sequences go on, partitions take new rows
    assert query("SELECT extname FROM pg_extension ORDER BY 1", copy) == "plpgsql\nvector"
    partitions = "SELECT count(*) FROM pg_inherits"
    with connection.cursor() as cursor:
        assert query(partitions, copy) == str(cursor.execute(partitions).fetchone()[0])
    for command in (["migrate", "--check"], ["verify_audit"], ["check_quotas"]):
        works(*command, **copy)


# -- Restoring loses nothing -------------------------------------------------------------------------------------------


def rewrite(backup: Path, **changes: Any) -> None:
    """Change the manifest, with valid checksums."""
    content = json.loads((backup / manifest.NAME).read_text())
    content |= {"files": manifest.compute_digests(backup), **changes}
    (backup / manifest.NAME).write_text(json.dumps(content))


def test_a_failed_restore_changes_nothing(copy: dict[str, str], alice: Any, bob: Any, tmp_path: Path) -> None:
    whole = Path(works("backup", "--folder", tmp_path))
    host, user = str(connection.settings_dict["HOST"]), str(connection.settings_dict["USER"])
    with psycopg.connect(host=host, user=user, dbname=COPY):
        assert "stop the platform first" in refused("restore", whole, **copy)
    works("restore", whole, **copy)
    bob.delete()
    assert "the database holds" in refused("restore", whole, **copy)

    def fails(reason: str, **changes: Any) -> None:
        backup = tmp_path / "broken"
        shutil.copytree(whole, backup)
        content = (backup / "database.dump").read_bytes()
        (backup / "database.dump").write_bytes(changes.pop("dump", lambda whole: whole)(content))
        if changes.pop("checked", True):
            rewrite(backup, **changes)
        assert reason in refused("restore", backup, "--replace", **copy)
        shutil.rmtree(backup)
        assert query("SELECT count(*) FROM accounts_user", copy) == "2"

    rows = manifest.read(whole).rows
    fails("the checksum of", dump=lambda dump: dump[:-1] + bytes([dump[-1] ^ 1]), checked=False)
    fails("nothing was restored", dump=lambda dump: dump[: len(dump) * 9 // 10])
    fails("accounts_user has 2 rows, and had 3", rows={**rows, "accounts_user": 3})
    fails("newer release", migrations=["runs.9999_of_tomorrow"])
    works("restore", works("backup", "--folder", tmp_path), "--replace", **copy)
    assert query("SELECT count(*) FROM accounts_user", copy) == "1"


# -- What a backup is --------------------------------------------------------------------------------------------------


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    """Create a complete backup with placeholder files."""
    with backup_store.create(tmp_path) as folder:
        (folder / "database.dump").write_bytes(b"rows")
        (folder / "home").mkdir()
        (folder / "home" / "secret-key").write_bytes(b"secret")
        manifest.Manifest("2026-11-26", "0.1.0", "18", [], {}, manifest.compute_digests(folder)).write(folder)
    (made,) = backup_store.list_complete(tmp_path)
    return made


def test_a_complete_backup(backup: Path) -> None:
    assert set(manifest.verify(backup).files) == {"database.dump", "home/secret-key"}
    assert backup.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("name", ["database.dump", "home/secret-key"])
def test_a_damaged_backup(backup: Path, name: str) -> None:
    for content in (b"", b"other"):
        (backup / name).write_bytes(content)
        with pytest.raises(BackupDamaged, match=f"checksum of {name} differs"):
            manifest.verify(backup)
    (backup / name).unlink()
    with pytest.raises(BackupDamaged, match=f"{name} is missing"):
        manifest.verify(backup)


def test_a_link_in_a_backup_is_not_followed(backup: Path) -> None:
    (backup / "home" / "mail").symlink_to("/etc/passwd")
    with pytest.raises(BackupDamaged, match="home/mail is missing or unknown"):
        manifest.verify(backup)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"format": 2}'])
def test_an_invalid_manifest(backup: Path, content: str) -> None:
    (backup / manifest.NAME).write_text(content)
    with pytest.raises(BackupDamaged, match="is not a backup"):
        manifest.verify(backup)


# -- Making one --------------------------------------------------------------------------------------------------------


def test_the_oldest_backups_are_deleted(tmp_path: Path) -> None:
    for _ in range(3):
        with backup_store.create(tmp_path) as folder:
            (folder / manifest.NAME).write_text("{}")
    first, second, third = backup_store.list_complete(tmp_path)
    assert backup_store.rotate(tmp_path, 2) == [first]
    assert backup_store.list_complete(tmp_path) == [second, third]


def test_a_failed_backup_leaves_only_the_others(backup: Path) -> None:
    with pytest.raises(BackupError, match="No space left on device"), backup_store.create(backup.parent):
        raise OSError(28, "No space left on device")
    (backup.parent / f"{backup_store.UNFINISHED}of-one-that-was-killed").mkdir()
    with (
        pytest.raises(BackupError, match="another backup"),
        backup_store.create(backup.parent),
        backup_store.create(backup.parent),
    ):
        pass
    assert [path.name for path in backup.parent.iterdir()].count(".lock") == 1
    assert set(backup.parent.iterdir()) == {backup, backup.parent / ".lock"}


def test_a_full_disk(alice: Any, tmp_path: Path) -> None:
    """A limit on file sizes ends pg_dump like a full disk."""
    command = f"ulimit -f 8; trap '' XFSZ; exec {sys.executable} manage.py backup --folder {tmp_path}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert done.returncode == 1 and "pg_dump failed" in done.stderr and "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_an_unreachable_database(database: None, tmp_path: Path) -> None:
    said = refused("backup", "--folder", tmp_path, DATABASE_URL="postgres://nobody@127.0.0.1:1/nothing")
    assert "Connection refused" in said or "connection" in said
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
