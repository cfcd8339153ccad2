"""Status page: the report of `web.health` in words."""

from typing import Any

PARTS = {
    "database": ("Database", "Accounts, runs and quotas"),
    "cache": ("Cache", "Limits a minute and live streams"),
    "queue": ("Background work", "Chains, index jobs and mail"),
    "beat": ("Clock", "Periodic tasks"),
    "disk": ("Disk", "The platform's own files"),
    "vectors": ("Code search", "Indexing and finding code"),
    "llm": ("Language model", "The default provider"),
}
STATES = {"ok": "Works", "degraded": "Impaired", "down": "Down"}


def page_context(report: dict[str, Any], up: bool) -> dict[str, Any]:
    """Return the template context for a health report; `up` if all required parts are."""
    parts = [_part(name, service) for name, service in report["services"].items()]
    troubled = [part["name"] for part in parts if part["status"] != "ok"]
    return {
        "state": "down" if not up else "degraded" if troubled else "ok",
        "sentence": _summary(troubled, up),
        "parts": parts,
        "checked_at": report["timestamp"],
    }


def _part(key: str, service: dict[str, Any]) -> dict[str, Any]:
    name, purpose = PARTS[key]
    return {
        "name": name,
        "purpose": purpose,
        "status": service["status"],
        "state": STATES[service["status"]],
        "latency_ms": service["latencyMs"],
        "detail": _detail(service),
    }


def _detail(service: dict[str, Any]) -> str:
    detail = str(service.get("detail", ""))
    # A driver's exception says nothing to people.
    if service["status"] == "down":
        return "No answer within a second." if detail == "timeout" else "Cannot be reached."
    return f"{detail[0].upper()}{detail[1:]}." if detail else ""


def _summary(troubled: list[str], up: bool) -> str:
    if not troubled:
        return "All parts work."
    which = troubled[0].lower() if len(troubled) == 1 else f"{len(troubled)} of {len(PARTS)} parts"
    return f"The platform is {'up' if up else 'down'}, with trouble in {which}."
