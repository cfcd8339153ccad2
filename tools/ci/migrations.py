"""`python -m tools.ci.migrations`: whether code of the release before can work on while, and after, a migration runs.

Part of `make lint`, with django-migration-linter. A column is dropped, renamed or made NOT NULL in two releases: first
the code stops using it, then it goes. Old and new processes serve side by side during an upgrade (docs/operations.md).
"""

import logging
import sys

import django
from django.conf import settings
from django.db.migrations.loader import MigrationLoader
from django_migration_linter import MigrationLinter

# The last one of each app that was made before this was looked at.
BASELINE = {
    "accounts": "0006_result_of_any_length",
    "agents": "0004_provider_keys",
    "apikeys": "0001_initial",
    "billing": "0003_stripe",
    "rag": "0003_cascades_and_terms",
    "runs": "0006_runs_by_time",
    "web": "0001_staff_roles",
}
# Later ones that are found fault with and do no harm, as `app.name`, each with the reason why.
HARMLESS: dict[str, str] = {
    "billing.0004_tiers_in_order": "a handful of rows, of which the release before must not write such either"
}
OTHERS = (
    "admin",
    "auth",
    "contenttypes",
    "djstripe",
    "otp_static",
    "otp_totp",
    "sessions",
)  # not written by us


class Linter(MigrationLinter):
    """Looks at tables that are there already: a new one's columns would be taken for what those of others need."""

    def get_sql(self, app_label: str, migration_name: str) -> list[str]:
        lines: list[str] = super().get_sql(app_label, migration_name)
        return [line for line in lines if not line.startswith("CREATE TABLE")]


def main() -> int:
    """Lint what is newer than the baseline, and return the exit code."""
    django.setup()
    logging.getLogger("django_migration_linter").setLevel(logging.WARNING)
    linter = Linter(str(settings.BASE_DIR), analyser_string="postgresql", no_cache=True, quiet=["ok"])
    count = 0
    for app, name in sorted(MigrationLoader(None).disk_migrations):
        if app in OTHERS or name <= BASELINE.get(app, ""):
            continue
        if reason := HARMLESS.get(f"{app}.{name}"):
            sys.stdout.write(f"migrations: {app}.{name} is let through: {reason}\n")
            continue
        linter.lint_migration(linter.migration_loader.disk_migrations[app, name])
        count += 1
    sys.stdout.write(f"migrations: {count} looked at, {linter.nb_erroneous} break the release before.\n")
    return int(linter.has_errors)


if __name__ == "__main__":
    sys.exit(main())
