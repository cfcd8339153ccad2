"""Errors of tiers, quotas and payments."""

from types import MappingProxyType

from lunaos.errors import LunaError


class ProRequired(LunaError):
    # Clients rely on this code for agents of every tier; the message names the tier (agents.services).
    code, status, message = "pro_required", 403, "Pro subscription required"
    is_refusal = True
    members = MappingProxyType(
        {
            "agent": "docker",
            "agentName": "Docker Agent",
            "upgradeUrl": "https://lunaos.example/pricing?tier=pro",
            "checkoutUrl": "https://lunaos.example/pricing?tier=pro#subscribe",
            "message": "Docker Agent is part of the Pro plan.",
        }
    )


class QuotaExceeded(LunaError):
    code, status, message = ("quota_exceeded", 403, "All executions of this month are used.")
    members = MappingProxyType(
        {
            "tier": "free",
            "used": 100,
            "limit": 100,
            "periodEnd": "2026-12-01T00:00:00.000Z",
            "upgradeUrl": "https://lunaos.example/pricing?tier=pro",
            "message": "All 100 executions of the free tier are used. The next month starts on 2026-12-01.",
        }
    )
    is_refusal = True


class BillingNotConfigured(LunaError):
    code, status, message = (
        "billing_not_configured",
        503,
        "This platform takes no payments, since Stripe is not configured.",
    )


class BillingUnavailable(LunaError):
    code, status, message = ("billing_unavailable", 503, "The payment provider cannot be reached. Try again shortly.")


class BillingConflict(LunaError):
    code, status, message = (
        "billing_conflict",
        409,
        "The payment provider refused this. Check your subscription with GET /billing/subscription, then try again.",
    )


class PaymentRefused(LunaError):
    code, status, message = (
        "payment_refused",
        402,
        "The payment was refused. Try another card in the portal: POST /billing/portal.",
    )


class NoSubscription(LunaError):
    code, status, message = ("no_subscription", 404, "You have no subscription. Start one with POST /billing/checkout.")


class AlreadySubscribed(LunaError):
    code, status, message = (
        "already_subscribed",
        400,
        "You already have a subscription. Change it with POST /billing/change or in the portal.",
    )


class CheckoutBlocked(LunaError):
    code, status, message = (
        "checkout_blocked",
        403,
        "A payment of yours is disputed, so no subscription can be started or upgraded. Contact support to settle it.",
    )


class WebhookRefused(LunaError):
    code, status, message = (
        "webhook_refused",
        400,
        "The body is not an event that Stripe signed for this platform within the last five minutes.",
    )
