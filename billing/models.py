"""Tiers, and what users have used."""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.validators import MinValueValidator
from django.db import models


class Tier(models.Model):
    """What users pay for, and what it allows; read through `billing.tiers`."""

    name = models.SlugField(primary_key=True, max_length=16)
    rank = models.PositiveSmallIntegerField(unique=True, help_text="A higher tier may do all that a lower one may.")
    price_usd = models.DecimalField(max_digits=8, decimal_places=2, help_text="A month.")
    executions = models.PositiveIntegerField(
        validators=[MinValueValidator(1)], help_text="Of agents and chains, a UTC calendar month."
    )
    requests_per_minute = models.PositiveIntegerField(
        validators=[MinValueValidator(1)], help_text="Across all of a user's tokens and keys."
    )
    api_keys = models.PositiveSmallIntegerField(help_text="Active ones a user may hold.")
    features = ArrayField(models.CharField(max_length=100), default=list, help_text="For the list of plans.")
    lookup_key = models.CharField(
        max_length=64, blank=True, help_text="Of its price at Stripe; empty where it is free."
    )

    class Meta:
        ordering = ("rank",)

    def __str__(self) -> str:
        return self.name


class MonthlyUsage(models.Model):
    """Executions of one user in one UTC calendar month, reservations included.

    Written by `billing.quota` only, in single conditional statements; the runs are the ledger behind it
    (`runs.ledger`).
    """

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
