"""Refused requests of an account: one row a minute, credential and error code, with their count."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from django.conf import settings
from django.db import models

RETENTION = timedelta(days=30)
MAX_MESSAGE_CHARACTERS = 300


class RefusalManager(models.Manager["Refusal"]):
    """Queries for refusals."""

    def kept(self) -> models.QuerySet["Refusal"]:
        """Return the refusals of the last 30 days."""
        # Older ones wait for their partition's end.
        return self.filter(minute__gt=self.oldest_kept())

    def oldest_kept(self) -> datetime:
        """Return the time 30 days ago."""
        return datetime.now(UTC) - RETENTION


class Refusal(models.Model):
    """The refusals of one minute with one code, of an owner's key or of the owner's tokens."""

    # Partitioned by the month of `minute`; `id` is computed from owner, key, code and minute (`refusals.recorder`).

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    minute = models.DateTimeField()
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="refusals", db_constraint=False
    )
    key_id = models.UUIDField("API key", null=True, help_text="Stays when the key is deleted; null for a token.")
    key_prefix = models.CharField("key", max_length=32, blank=True, help_text="Empty for a token.")
    code = models.CharField(max_length=64, help_text="Error code of the answer.")
    count = models.PositiveIntegerField("requests")
    first_request_id = models.CharField(max_length=128, blank=True)
    last_request_id = models.CharField(max_length=128, blank=True)
    message = models.CharField(max_length=MAX_MESSAGE_CHARACTERS, blank=True, help_text="Of the last answer.")

    objects: ClassVar[RefusalManager] = RefusalManager()

    class Meta:
        ordering = ("-minute", "-id")
        verbose_name = "refused request"
        default_permissions = ("view",)
        indexes = (
            models.Index(fields=("user", "-minute"), name="refusals_of_user"),
            models.Index(fields=("key_id", "-minute"), name="refusals_of_key"),
            models.Index(fields=("-minute", "-id"), name="refusals_by_time"),
            models.Index(fields=("first_request_id",), name="refusals_by_first"),
            models.Index(fields=("last_request_id",), name="refusals_by_last"),
        )

    def __str__(self) -> str:
        return f"{self.count} x {self.code}, {self.minute:%Y-%m-%d %H:%M}"
