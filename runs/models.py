"""Runs: one row an execution, small; its texts apart, in a table partitioned by month."""

import uuid

from django.conf import settings
from django.db import models


class Status(models.TextChoices):
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"


class Charge(models.TextChoices):
    """Where the run's execution stands in the owner's quota."""

    RESERVED = "reserved"
    SETTLED = "settled"
    RELEASED = "released"


class Run(models.Model):
    """One metered execution: who, what, how it went and what it cost."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="runs")
    agent = models.CharField(max_length=64)
    provider = models.CharField(max_length=32)
    model = models.CharField(max_length=64)
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.RUNNING)
    error_code = models.CharField(max_length=64, blank=True)
    input_tokens = models.PositiveIntegerField(default=0)
    output_tokens = models.PositiveIntegerField(default=0)
    cost_usd = models.DecimalField(max_digits=12, decimal_places=6, default=0)
    duration_ms = models.PositiveIntegerField(null=True)
    first_token_ms = models.PositiveIntegerField(null=True, help_text="From the request to the first piece of answer.")
    charge = models.CharField(max_length=16, choices=Charge.choices, default=Charge.RESERVED)
    charged_month = models.DateField(help_text="The month whose quota the execution was taken from.")
    request_id = models.CharField(max_length=128)
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-created_at", "-id")
        indexes = (
            models.Index(fields=("user", "-created_at", "-id"), name="runs_of_user"),
            models.Index(fields=("created_at",), name="runs_alive", condition=models.Q(status=Status.RUNNING)),
        )

    def __str__(self) -> str:
        return f"{self.agent} {self.status} {self.id}"


class RunText(models.Model):
    """What went in and what came out; dropped by the month when the retention has passed (`runs.partitions`)."""

    pk = models.CompositePrimaryKey("run_id", "created_at")
    run_id = models.UUIDField()
    created_at = models.DateTimeField(help_text="The run's own, which says in which partition the row lies.")
    input = models.TextField()
    output = models.TextField(default="")

    class Meta:
        db_table = "runs_text"

    def __str__(self) -> str:
        return f"text of {self.run_id}"
