"""What users have used."""

from django.conf import settings
from django.db import models


class MonthlyUsage(models.Model):
    """Executions of one user in one UTC calendar month, reservations included.

    Written by `billing.quota` only, in single conditional statements; the runs are the ledger behind it.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="monthly_usage")
    month = models.DateField(help_text="The month's first day.")
    executions = models.PositiveIntegerField(default=0)

    class Meta:
        verbose_name_plural = "monthly usage"
        constraints = (models.UniqueConstraint(fields=("user", "month"), name="one_usage_row_a_month"),)

    def __str__(self) -> str:
        return f"{self.user_id} {self.month:%Y-%m}: {self.executions}"
