"""Tiers, monthly usage, grants and handled webhook events."""

from datetime import UTC, datetime, timedelta
from typing import ClassVar

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models

from accounts.models import User

WEBHOOK_EVENT_RETENTION = timedelta(days=90)


class Tier(models.Model):
    """A tier: its price and its limits. Read tiers through `billing.tiers`."""

    FREE = "free"  # the lowest tier, which every user has

    name = models.SlugField(primary_key=True, max_length=16)
    rank = models.PositiveSmallIntegerField(unique=True, help_text="A higher tier may do all that a lower one may.")
    price_usd = models.DecimalField(
        max_digits=8, decimal_places=2, validators=[MinValueValidator(0)], help_text="A month."
    )
    executions = models.PositiveIntegerField(
        validators=[MinValueValidator(1)], help_text="Of agents and chains, a UTC calendar month."
    )
    requests_per_minute = models.PositiveIntegerField(
        validators=[MinValueValidator(1)], help_text="Across all of a user's tokens and keys."
    )
    api_keys = models.PositiveSmallIntegerField(help_text="Active ones a user may hold.")
    # The defaults are those of free, so that a tier that staff add does not get more than free by oversight.
    executions_at_once = models.PositiveIntegerField(
        default=2, db_default=2, validators=[MinValueValidator(1)], help_text="Runs under way of one user."
    )
    starts_per_hour = models.PositiveIntegerField(
        default=100,
        db_default=100,
        validators=[MinValueValidator(1)],
        help_text="Runs a user may start in an hour, those on own provider keys and those that fail included.",
    )
    stored_bytes = models.PositiveBigIntegerField(
        default=100_000_000, db_default=100_000_000, help_text="Of files in code search, all repositories together."
    )
    repositories = models.PositiveIntegerField(default=5, db_default=5, help_text="In code search.")
    features = ArrayField(models.CharField(max_length=100), default=list, help_text="For the list of plans.")
    lookup_key = models.CharField(
        max_length=64, blank=True, help_text="Of its price at Stripe; empty where it is free."
    )

    class Meta:
        ordering = ("rank",)
        constraints = (
            models.CheckConstraint(condition=~models.Q(name="free") | models.Q(rank=0), name="free_is_the_lowest_tier"),
            models.CheckConstraint(condition=models.Q(price_usd__gte=0), name="no_tier_below_nothing"),
            models.UniqueConstraint(
                fields=("lookup_key",), condition=~models.Q(lookup_key=""), name="one_tier_a_lookup_key"
            ),
        )

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        faults = {}
        if self.name == self.FREE and self.rank:
            faults["rank"] = f"The {self.FREE} tier is the lowest, and its rank is 0: else its users could do too much."
        if self.name == self.FREE and self.price_usd:
            faults["price_usd"] = f"The {self.FREE} tier costs nothing."
        others = Tier.objects.exclude(pk=self.pk)
        if self.lookup_key and (other := others.filter(lookup_key=self.lookup_key).first()):
            faults["lookup_key"] = f"The tier {other} has this one: a checkout would find its price."
        if faults:
            raise ValidationError(faults)


class MonthlyUsage(models.Model):
    """Executions of one user in one UTC calendar month, reservations included."""

    # Only `billing.quota` writes these rows, in single conditional statements. The runs are the ledger that
    # `runs.ledger` compares them with.

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="monthly_usage")
    month = models.DateField(help_text="The month's first day.")
    executions = models.PositiveIntegerField(default=0)
    chains = models.PositiveIntegerField(db_default=0, help_text="Of these executions.")
    told_percent = models.PositiveSmallIntegerField(
        db_default=0, help_text="The mark at which the user was mailed last."
    )

    class Meta:
        verbose_name_plural = "monthly usage"
        constraints = (models.UniqueConstraint(fields=("user", "month"), name="one_usage_row_a_month"),)

    def __str__(self) -> str:
        return f"{self.user_id} {self.month:%Y-%m}: {self.executions}"


class UsageOfAddress(models.Model):
    """Executions of a deleted account this month, by a keyed hash of its address."""

    # `billing.usage_carryover` writes and reads these rows.

    digest = models.CharField(max_length=64, help_text="HMAC of the address with the server's secret.")
    month = models.DateField(db_index=True, help_text="The month's first day; the row goes when the month has ended.")
    executions = models.PositiveIntegerField()
    chains = models.PositiveIntegerField(help_text="Of these executions.")
    told_percent = models.PositiveSmallIntegerField(help_text="The mark at which the user was mailed last.")

    class Meta:
        default_permissions = ()
        constraints = (models.UniqueConstraint(fields=("digest", "month"), name="one_usage_row_an_address"),)

    def __str__(self) -> str:
        return f"{self.digest[:8]} {self.month:%Y-%m}: {self.executions}"


class GrantManager(models.Manager["Grant"]):
    def active(self, user: User) -> models.QuerySet["Grant"]:
        """Return a user's grants that have not ended."""
        return self.filter(user=user, ended_at=None).select_related("tier")

    def due(self) -> models.QuerySet["Grant"]:
        """Return the grants whose time has passed and that are not marked as ended."""
        return self.filter(ended_at=None, until__lte=datetime.now(UTC))


class Grant(models.Model):
    """A tier that staff give a user; the higher of it and the subscription counts."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="grants")
    tier = models.ForeignKey(Tier, on_delete=models.PROTECT, related_name="grants")
    until = models.DateTimeField(null=True, blank=True, help_text="UTC; empty for one without an end.")
    reason = models.CharField(max_length=200)
    granted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, editable=False, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True, editable=False)

    objects: ClassVar[GrantManager] = GrantManager()

    class Meta:
        ordering = ("-created_at",)
        indexes = (models.Index(fields=("until",), condition=models.Q(ended_at=None), name="grants_that_end"),)

    def __str__(self) -> str:
        end = f"until {self.until:%Y-%m-%d %H:%M}" if self.until else "without an end"
        return f"{self.user}: {self.tier_id} {end}"

    def is_active(self, now: datetime) -> bool:
        """Return whether the grant gives its tier at this moment."""
        return self.ended_at is None and (self.until is None or self.until > now)


class DisputeWaiver(models.Model):
    """A lost dispute that staff have waived: the user's subscription counts again, and checkouts are open."""

    dispute_id = models.CharField(primary_key=True, max_length=255, help_text="At Stripe.")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="dispute_waivers")
    reason = models.CharField(max_length=200)
    waived_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    waived_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-waived_at",)
        default_permissions = ("add",)

    def __str__(self) -> str:
        return f"{self.dispute_id}: {self.reason}"


class WebhookEventManager(models.Manager["WebhookEvent"]):
    def expired(self) -> models.QuerySet["WebhookEvent"]:
        """Return the events that Stripe no longer repeats; Stripe gives up after 3 days."""
        return self.filter(handled_at__lt=datetime.now(UTC) - WEBHOOK_EVENT_RETENTION)


class WebhookEvent(models.Model):
    """An event of Stripe's that has been handled; its body is not stored."""

    id = models.CharField(primary_key=True, max_length=255)
    kind = models.CharField(max_length=64)
    customer_id = models.CharField(max_length=255, db_index=True, help_text="At Stripe.")
    made_at = models.DateTimeField(help_text="By Stripe.")
    handled_at = models.DateTimeField(auto_now_add=True, db_index=True)

    objects: ClassVar[WebhookEventManager] = WebhookEventManager()

    class Meta:
        ordering = ("-handled_at",)
        verbose_name, verbose_name_plural = "event of Stripe", "events of Stripe"

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"
