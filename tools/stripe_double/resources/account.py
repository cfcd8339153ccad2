"""The objects of a new double: the account and a portal configuration."""

from typing import Any

ACCOUNT_ID = "acct_1LunaOSDoubleOfStripe"


def first_objects(now: int) -> list[dict[str, Any]]:
    return [_account(now), configuration(now, identifier="bpc_1LunaOSDoubleDefault", is_default=True)]


def _account(now: int) -> dict[str, Any]:
    return {
        "id": ACCOUNT_ID,
        "object": "account",
        "business_type": "company",
        "capabilities": {"card_payments": "active", "transfers": "active"},
        "charges_enabled": True,
        "country": "US",
        "created": now,
        "default_currency": "usd",
        "details_submitted": True,
        "email": "billing@example.com",
        "metadata": {},
        "payouts_enabled": True,
        "settings": {
            "branding": {"icon": None, "logo": None, "primary_color": None, "secondary_color": None},
            "card_payments": {"statement_descriptor_prefix": None},
            "dashboard": {"display_name": "LunaOS", "timezone": "Etc/UTC"},
            "payments": {"statement_descriptor": "LUNAOS"},
        },
        "type": "standard",
    }


def configuration(now: int, *, identifier: str, is_default: bool = False) -> dict[str, Any]:
    """Return a configuration of the billing portal that allows everything."""
    return {
        "id": identifier,
        "object": "billing_portal.configuration",
        "active": True,
        "application": None,
        "business_profile": {"headline": None, "privacy_policy_url": None, "terms_of_service_url": None},
        "created": now,
        "default_return_url": None,
        "features": _features(),
        "is_default": is_default,
        "livemode": False,
        "login_page": {"enabled": False, "url": None},
        "metadata": {},
        "name": None,
        "updated": now,
    }


def _features() -> dict[str, Any]:
    reasons = ["too_expensive", "missing_features", "switched_service", "unused", "other"]
    return {
        "customer_update": {"allowed_updates": [], "enabled": False},
        "invoice_history": {"enabled": True},
        "payment_method_update": {"enabled": True, "payment_method_configuration": None},
        "subscription_cancel": {
            "cancellation_reason": {"enabled": False, "options": reasons},
            "enabled": True,
            "mode": "at_period_end",
            "proration_behavior": "none",
        },
        "subscription_update": {
            "billing_cycle_anchor": None,
            "default_allowed_updates": ["price"],
            "enabled": True,
            "products": None,
            "proration_behavior": "always_invoice",
            "schedule_at_period_end": {"conditions": []},
            "trial_update_behavior": "end_trial",
        },
    }
