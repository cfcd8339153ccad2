"""Input and output of the billing endpoints."""

from typing import Any

from rest_framework import serializers

from billing.models import Tier
from billing.payments import plans
from billing.payments.checkout import Checkout
from billing.payments.subscription_state import NO_SUBSCRIPTION, Subscription, SubscriptionState
from billing.quota import Usage
from lunaos.api.serializers import RequestSerializer


class TierSerializer(RequestSerializer):
    tier = serializers.CharField(max_length=16, help_text="A tier with `onSale` in GET /billing/plans, such as `pro`.")

    def validate_tier(self, tier: str) -> str:
        names = [each.name for each in plans.list_tiers_on_sale()]
        if tier not in names:
            raise serializers.ValidationError(f"Choose one of {', '.join(names)}.", "invalid_choice")
        return tier


class CheckoutSerializer(serializers.Serializer[Checkout]):
    checkoutUrl = serializers.CharField(source="url")
    sessionId = serializers.CharField(source="session_id")


class PortalSerializer(serializers.Serializer[Any]):
    portalUrl = serializers.CharField()


class ChangedSerializer(serializers.Serializer[Any]):
    message = serializers.CharField()
    tier = serializers.CharField()
    effectiveAt = serializers.DateTimeField(
        allow_null=True, help_text="null: at once, or as soon as the difference is paid."
    )


class SubscriptionSerializer(serializers.Serializer[Subscription]):
    id = serializers.CharField()
    currentPeriodStart = serializers.DateTimeField(source="period_start")
    currentPeriodEnd = serializers.DateTimeField(source="period_end")
    cancelAtPeriodEnd = serializers.BooleanField(source="cancels")
    createdAt = serializers.DateTimeField(source="created_at")


class StandingSerializer(serializers.Serializer[SubscriptionState]):
    tier = serializers.CharField()
    status = serializers.CharField(help_text=f"Stripe's status, or `{NO_SUBSCRIPTION}`.")
    subscription = SubscriptionSerializer(allow_null=True)
    checkoutBlocked = serializers.BooleanField(
        source="checkout_blocked",
        help_text="Whether POST /billing/checkout and upgrades are refused (`checkout_blocked`), since a payment is "
        "disputed. Contact support.",
    )


class PlanSerializer(serializers.ModelSerializer[Tier]):
    tier = serializers.CharField(source="name")
    priceUsd = serializers.DecimalField(source="price_usd", max_digits=8, decimal_places=2, help_text="Per month.")
    executionsPerMonth = serializers.IntegerField(source="executions")
    requestsPerMinute = serializers.IntegerField(source="requests_per_minute")
    executionsAtOnce = serializers.IntegerField(source="executions_at_once")
    startsPerHour = serializers.IntegerField(
        source="starts_per_hour", help_text="Runs, including those on own provider keys."
    )
    apiKeys = serializers.IntegerField(source="api_keys")
    storedBytes = serializers.IntegerField(source="stored_bytes", help_text="Bytes of files in code search.")
    repositories = serializers.IntegerField(help_text="Repositories in code search.")
    onSale = serializers.SerializerMethodField(help_text="Whether POST /billing/checkout accepts the tier.")

    class Meta:
        model = Tier
        fields = (
            *("tier", "priceUsd", "executionsPerMonth", "requestsPerMinute", "executionsAtOnce", "startsPerHour"),
            *("apiKeys", "storedBytes", "repositories"),
            *("features", "onSale"),
        )

    def get_onSale(self, tier: Tier) -> bool:  # noqa: N802 - DRF finds it by the field's name
        return tier.name in self.context["on_sale"]


class PlanListSerializer(serializers.Serializer[Any]):
    plans = PlanSerializer(many=True)


class PeriodSerializer(serializers.Serializer[Usage]):
    start = serializers.DateTimeField()
    end = serializers.DateTimeField(help_text="Exclusive: the first moment of the next period.")


class BreakdownSerializer(serializers.Serializer[Usage]):
    agentExecutions = serializers.IntegerField(source="agents")
    chainExecutions = serializers.IntegerField(source="chains")


class UsageSerializer(serializers.Serializer[Usage]):
    tier = serializers.SerializerMethodField()
    used = serializers.IntegerField()
    limit = serializers.IntegerField()
    remaining = serializers.IntegerField()
    percentUsed = serializers.IntegerField(source="percent")
    period = PeriodSerializer(source="*")
    breakdown = BreakdownSerializer(source="*")
    warning = serializers.CharField(required=False, help_text="Present from 80 % on.")

    def get_tier(self, usage: Usage) -> str:
        return str(self.context["tier"])

    def to_representation(self, instance: Usage) -> dict[str, Any]:
        shown = super().to_representation(instance)
        return {name: value for name, value in shown.items() if value is not None}
