"""Readiness of this process for requests; models and workers do not count.

Replicas share them: if they did count, an outage would take all replicas out of the load balancer.
"""

from functools import cache
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import Any

from django.apps import apps
from django.core.cache import cache as valkey
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from lunaos.infra import lazy_imports
from runs import executors
from web import health_checks
from web.health_checks import Check, Degraded

_migrated = False  # migrations are not reverted while this process lives


@cache
def _known_migrations() -> frozenset[tuple[str, str]]:
    # By the names of files: loading them, as Django does, takes longer than a probe may.
    found = set()
    for label in (config.label for config in apps.get_app_configs()):
        module, _ = MigrationLoader.migrations_module(label)
        spec = find_spec(module) if module else None
        names = iter_modules(spec.submodule_search_locations) if spec else ()
        found |= {(label, each.name) for each in names if each.name[0] not in "_~"}
    return frozenset(found)


def _database() -> None:
    global _migrated
    if _migrated:
        health_checks.query("SELECT 1")
    # Migrations of a newer release do no harm.
    elif missing := _known_migrations() - MigrationRecorder(connection).applied_migrations().keys():
        raise Degraded(f"migrations missing: {len(missing)}")
    else:
        _migrated = True


def _cache() -> None:
    valkey.get("health")


def _modules() -> None:
    # Before the first request, so that no client waits for an import.
    lazy_imports.import_all()


CHECKS: dict[str, Check] = {"database": _database, "cache": _cache, "modules": _modules}


def check() -> tuple[dict[str, Any], bool]:
    """Return a report without host names or secrets, and whether the process is ready."""
    checks = {name: _check_status(part) for name, part in health_checks.run_checks(CHECKS).items()}
    checks["process"] = "stopping" if executors.is_shutting_down() else "ok"
    ready = set(checks.values()) == {"ok"}
    return {"ready": ready, "checks": checks}, ready


def _check_status(part: dict[str, Any]) -> str:
    return str(part.get("detail", part["status"])) if part["status"] == "degraded" else str(part["status"])
