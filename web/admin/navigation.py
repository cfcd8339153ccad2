"""Sidebar of the admin: groups of entries, by permission."""

from typing import Any

from django.http import HttpRequest
from django.urls import reverse

# Title, icon (Material Symbols), URL name, and the permission that the page requires.
MenuItem = tuple[str, str, str, str]
MENU: dict[str, tuple[MenuItem, ...]] = {
    "Overview": (("Dashboard", "space_dashboard", "index", ""),),
    "People": (
        ("Users", "person", "accounts_user_changelist", "accounts.view_user"),
        ("API keys", "key", "apikeys_apikey_changelist", "apikeys.view_apikey"),
        ("Refused requests", "block", "refusals_refusal_changelist", "refusals.view_refusal"),
        ("Provider keys", "vpn_key", "agents_providerkey_changelist", "agents.view_providerkey"),
        ("Groups", "badge", "auth_group_changelist", "auth.view_group"),
    ),
    "Agents": (
        ("Agents", "smart_toy", "agents_agent_changelist", "agents.view_agent"),
        ("Chain presets", "account_tree", "chains_chainpreset_changelist", "chains.view_chainpreset"),
        ("Language models", "neurology", "agents_languagemodel_changelist", "agents.view_languagemodel"),
    ),
    "Runs": (
        ("Runs", "play_circle", "runs_run_changelist", "runs.view_run"),
        ("Storage", "database", "runs_run_storage", "runs.view_run"),
    ),
    "Code search": (
        ("Repositories", "folder_code", "rag_repository_changelist", "rag.view_repository"),
        ("Index jobs", "pending_actions", "rag_indexjob_changelist", "rag.view_indexjob"),
    ),
    "Billing": (
        ("Tiers", "stacks", "billing_tier_changelist", "billing.view_tier"),
        ("Monthly usage", "monitoring", "billing_monthlyusage_changelist", "billing.view_monthlyusage"),
        ("Subscriptions", "autorenew", "djstripe_subscription_changelist", "djstripe.view_subscription"),
        ("Invoices", "receipt_long", "djstripe_invoice_changelist", "djstripe.view_invoice"),
        ("Grants", "redeem", "billing_grant_changelist", "billing.view_grant"),
        ("Stripe's events", "webhook", "billing_webhookevent_changelist", "billing.view_webhookevent"),
    ),
    "Safety": (("Audit trail", "policy", "accounts_auditevent_changelist", "accounts.view_auditevent"),),
}


def sidebar_menu(request: HttpRequest) -> list[dict[str, Any]]:
    """Return unfold's menu with the entries that the staff member may open."""
    shown = {title: [entry for entry in entries if _may_see(request, entry)] for title, entries in MENU.items()}
    return [
        {
            "title": title,
            "separator": title != "Overview",
            "items": [_as_unfold_item(request, entry) for entry in entries],
        }
        for title, entries in shown.items()
        if entries
    ]


def _may_see(request: HttpRequest, entry: MenuItem) -> bool:
    permission = entry[3]
    return not permission or request.user.has_perm(permission)


def _as_unfold_item(request: HttpRequest, entry: MenuItem) -> dict[str, Any]:
    title, icon, page, _ = entry
    link = reverse(f"admin:{page}")
    return {"title": title, "icon": icon, "link": link, "active": _is_open(request.path, link, page)}


def _is_open(path: str, link: str, page: str) -> bool:
    # Storage has its own entry, and lies below the list of runs.
    if page in ("index", "runs_run_storage") or path == reverse("admin:runs_run_storage"):
        return path == link
    return path.startswith(link)
