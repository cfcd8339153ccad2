"""`python -m tools.ci.migrations`: check that the release before works meanwhile.

Drop, rename or make a column NOT NULL in two releases: first the code stops using it, then the migration follows.
"""

import logging
import sys

import django
from django.conf import settings
from django.db.migrations.loader import MigrationLoader
from django_migration_linter import MigrationLinter

# The last migration of each app from before this check.
BASELINE = {
    "accounts": "0006_result_of_any_length",
    "agents": "0004_provider_keys",
    "apikeys": "0001_initial",
    "billing": "0003_stripe",
    "rag": "0003_cascades_and_terms",
    "runs": "0006_runs_by_time",
    "web": "0001_staff_roles",
}
# Later migrations with harmless findings, as `app.name`, each with its reason.
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


# Old and new processes serve at once during an upgrade.
class Linter(MigrationLinter):
    def get_sql(self, app_label: str, migration_name: str) -> list[str]:
        lines: list[str] = super().get_sql(app_label, migration_name)
        # Its columns would count as new columns of existing tables.
        return [line for line in lines if not line.startswith("CREATE TABLE")]


def main() -> int:
    """Lint migrations newer than BASELINE, and return the exit code."""
    django.setup()
    logging.getLogger("django_migration_linter").setLevel(logging.WARNING)
    linter = Linter(str(settings.BASE_DIR), analyser_string="postgresql", no_cache=True, quiet=["ok"])
    count = 0
    for app, name in sorted(MigrationLoader(None).disk_migrations):
        if app in OTHERS or name <= BASELINE.get(app, ""):
            continue
        if reason := HARMLESS.get(f"{app}.{name}"):
            sys.stdout.write(f"migrations: {app}.{name} is allowed: {reason}\n")
            continue
        linter.lint_migration(linter.migration_loader.disk_migrations[app, name])
        count += 1
    sys.stdout.write(f"migrations: {count} checked, {linter.nb_erroneous} break the release before.\n")
    return int(linter.has_errors)


if __name__ == "__main__":
    sys.exit(main())
