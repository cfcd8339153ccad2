"""Errors of tiers, quotas and payments."""

from types import MappingProxyType

from lunaos.errors import LunaError


class ProRequired(LunaError):
    code, status, message = "pro_required", 403, "Pro subscription required"
    members = MappingProxyType(
        {
            "agent": "docker",
            "agentName": "Docker Agent",
            "upgradeUrl": "https://lunaos.example/#plans",
            "checkoutUrl": "https://lunaos.example/billing/checkout",
            "message": "Docker Agent is part of the Pro plan.",
        }
    )


class QuotaExceeded(LunaError):
    code, status, message = ("quota_exceeded", 403, "The executions of this month are used up.")
    members = MappingProxyType(
        {
            "tier": "free",
            "used": 100,
            "limit": 100,
            "upgradeUrl": "https://lunaos.example/#plans",
            "message": "All 100 executions of the free tier are used until the month ends.",
        }
    )


class BillingNotConfigured(LunaError):
    code, status, message = ("billing_not_configured", 503, "This platform takes no payments: Stripe is not set up.")


class BillingUnavailable(LunaError):
    code, status, message = ("billing_unavailable", 503, "The payment provider cannot be reached. Try again shortly.")


class BillingConflict(LunaError):
    code, status, message = (
        "billing_conflict",
        409,
        "The payment provider did not accept this. Look at your subscription and try again.",
    )


class PaymentRefused(LunaError):
    code, status, message = ("payment_refused", 402, "The payment was refused.")


class NoSubscription(LunaError):
    code, status, message = ("no_subscription", 404, "There is no subscription.")


class AlreadySubscribed(LunaError):
    code, status, message = (
        "already_subscribed",
        400,
        "You have a subscription already. Change it with POST /billing/change, or in the portal.",
    )


class WebhookRefused(LunaError):
    code, status, message = ("webhook_refused", 400, "This is no event that Stripe has signed for this platform.")
