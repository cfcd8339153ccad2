"""Backup and restore of the database: all rows of one moment, with their counts."""

import json
from datetime import UTC, datetime
from pathlib import Path

from django.conf import settings
from django.db import connection, transaction
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from psycopg import sql

from lunaos.backup import manifest, programs
from lunaos.backup.errors import BackupError
from lunaos.backup.manifest import Manifest

DUMP = "database.dump"
# Tables with rows of their own, partitions included, without the tables of extensions.
LIST_TABLES = (
    "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND NOT EXISTS "
    "(SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype = 'e') ORDER BY relname"
)
COUNT_OTHER_CONNECTIONS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = current_user "
    "AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
)
ROW_COUNT_CHECK = """\
DO $check$
DECLARE name text; expected bigint; found bigint;
BEGIN
  FOR name, expected IN SELECT key, value::bigint FROM json_each_text({rows}) LOOP
    EXECUTE format('SELECT count(*) FROM public.%I', name) INTO found;
    IF found <> expected THEN RAISE EXCEPTION '% has % rows, and had %', name, found, expected; END IF;
  END LOOP;
END $check$;"""


def save(folder: Path) -> None:
    """Dump the database into a backup, and write the manifest as the last file."""
    with transaction.atomic(), connection.cursor() as cursor:
        # The snapshot makes pg_dump and the row counts see the same moment.
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        cursor.execute("SELECT pg_export_snapshot(), current_setting('server_version')")
        snapshot, server = cursor.fetchone()
        programs.dump(folder / DUMP, snapshot)
        Manifest(
            made_at=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            version=str(settings.SPECTACULAR_SETTINGS["VERSION"]),
            server=server,
            migrations=sorted(f"{app}.{name}" for app, name in MigrationRecorder(connection).applied_migrations()),
            rows=_count_rows(),
            files=manifest.compute_digests(folder),
        ).write(folder)


def load(folder: Path, found: Manifest, *, replace: bool = False) -> None:
    """Restore the database from a verified backup, completely or not at all."""
    if unknown := sorted(set(found.migrations) - _known_migrations()):
        raise BackupError(f"the backup is of a newer release: this one does not know {', '.join(unknown)}")
    with connection.cursor() as cursor:
        others = cursor.execute(COUNT_OTHER_CONNECTIONS).fetchone()[0]
        tables = cursor.execute(LIST_TABLES).fetchall()
    if others:
        raise BackupError(f"{others} connections use the database: stop the platform first")
    if tables and not replace:
        raise BackupError(f"the database holds {len(tables)} tables; --replace deletes them")
    connection.close()
    rows = sql.Literal(json.dumps(found.rows)).as_string()
    programs.restore(folder / DUMP, replace=replace, check=ROW_COUNT_CHECK.replace("{rows}", rows))
    with connection.cursor() as cursor:
        # A restored database has no statistics, and would choose slow plans.
        cursor.execute("ANALYZE")


def _count_rows() -> dict[str, int]:
    with connection.cursor() as cursor:
        names = [name for (name,) in cursor.execute(LIST_TABLES).fetchall()]
        counts = {}
        for name in names:
            cursor.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(name)))
            counts[name] = cursor.fetchone()[0]
    return counts


def _known_migrations() -> set[str]:
    loader = MigrationLoader(None, ignore_no_migrations=True)
    return {f"{app}.{name}" for app, name in loader.disk_migrations}
