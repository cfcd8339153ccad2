"""Runs: one small row per execution; texts and steps in partitions."""

import uuid

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models


class Status(models.TextChoices):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"


UNFINISHED = (Status.QUEUED, Status.RUNNING)


class Charge(models.TextChoices):
    """State of a run's execution in the owner's quota."""

    RESERVED = "reserved"
    SETTLED = "settled"
    RELEASED = "released"
    EXEMPT = "exempt"  # free tier on the user's own key: the quota is not charged


class Figures(models.Model):
    """Tokens and cost of an execution; runs and steps have the same columns."""

    # Every column has a database default, since processes of an older release insert rows without it.
    input_tokens = models.PositiveIntegerField(default=0)
    output_tokens = models.PositiveIntegerField(default=0, help_text="Reasoning included.")
    reasoning_tokens = models.PositiveIntegerField(default=0, db_default=0)
    cache_read_tokens = models.PositiveIntegerField(default=0, db_default=0, help_text="Of the input.")
    cache_write_tokens = models.PositiveIntegerField(default=0, db_default=0, help_text="Of the input.")
    tokens_estimated = models.BooleanField(
        default=False, db_default=False, help_text="Not all of them were counted by the provider."
    )
    cost_usd = models.DecimalField(max_digits=12, decimal_places=6, default=0)
    cost_known = models.BooleanField(
        default=True, db_default=True, help_text="No: the price table does not have the model, so the cost is unknown."
    )

    class Meta:
        abstract = True


class Run(Figures):
    """One metered execution: its owner, agent or chain, state and cost."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="runs")
    agent = models.CharField(max_length=64, blank=True, help_text="The agent's slug; empty for a chain.")
    chain = models.CharField(max_length=64, blank=True, help_text="The preset's id or `custom`; empty for an agent.")
    steps = ArrayField(models.CharField(max_length=64), default=list, help_text="The agents of a chain, in order.")
    provider = models.CharField(max_length=32, help_text="Who answered; for a chain, who was asked for.")
    model = models.CharField(max_length=64)
    own_key = models.BooleanField(
        default=False, db_default=False, help_text="On the user's own key, who pays the provider."
    )
    status = models.CharField(max_length=16, choices=Status.choices, default=Status.RUNNING)
    error_code = models.CharField(max_length=64, blank=True)
    provider_status = models.PositiveSmallIntegerField(
        null=True, help_text="HTTP status of the provider's last answer, where the run failed with it."
    )
    duration_ms = models.PositiveIntegerField(null=True, help_text="From created to finished.")
    first_token_ms = models.PositiveIntegerField(null=True, help_text="From created to the first piece of answer.")
    charge = models.CharField(max_length=16, choices=Charge.choices, default=Charge.RESERVED)
    charged_month = models.DateField(help_text="The month whose quota the execution was taken from.")
    request_id = models.CharField(max_length=128)
    # No foreign key: the run keeps both when the key is deleted.
    api_key_id = models.UUIDField("API key", null=True, help_text="The key that started the run; null for a token.")
    api_key_prefix = models.CharField(
        "API key", max_length=32, blank=True, default="", db_default="", help_text="The beginning of that key."
    )
    created_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    heartbeat_at = models.DateTimeField(help_text="The executor's last sign of life; while queued, when it was queued.")
    executor = models.PositiveIntegerField(null=True, help_text="The process that executes an agent's run.")
    attempt = models.PositiveIntegerField(default=1, help_text="Executions so far; the highest one counts.")
    losses = models.PositiveSmallIntegerField(default=0, help_text="Executors that died since it was begun or resumed.")
    cancel_requested_at = models.DateTimeField(null=True)
    cancelled_by_staff = models.BooleanField(
        default=False, db_default=False, help_text="Not by its owner, who pays only for what was shown then."
    )
    expires_at = models.DateTimeField(help_text="When its texts are dropped; says in which partition they lie.")

    class Meta:
        ordering = ("-created_at", "-id")
        permissions = (("cancel_run", "Can cancel run"),)
        indexes = (
            models.Index(fields=("user", "-created_at", "-id"), name="runs_of_user"),
            models.Index(
                fields=("created_at",), name="runs_unfinished", condition=models.Q(status__in=("queued", "running"))
            ),
            models.Index(
                fields=("user", "created_at"),
                name="runs_under_way",
                condition=models.Q(status__in=("queued", "running")),
            ),
            models.Index(fields=("-created_at", "-id"), name="runs_by_time"),  # for the admin and the figures
            models.Index(
                fields=("api_key_id", "-created_at", "-id"),
                name="runs_of_key",
                condition=models.Q(api_key_id__isnull=False),
            ),
            models.Index(fields=("request_id",), name="runs_by_request"),  # for support
            models.Index(
                fields=("-created_at",),
                name="runs_failed",
                condition=models.Q(status__in=("failed", "interrupted")),
            ),
        )

    def __str__(self) -> str:
        return f"{self.chain or self.agent} {self.status} {self.id}"


class RunText(models.Model):
    pk = models.CompositePrimaryKey("run_id", "expires_at")
    run_id = models.UUIDField()
    expires_at = models.DateTimeField(help_text="The run's own, which says in which partition the row lies.")
    input = models.TextField()
    output = models.TextField(default="")
    events = models.TextField(default="", help_text="One JSON object a line; the line's number is the event's id.")
    error = models.TextField(default="", db_default="", help_text="Why it failed, as the client was told.")
    last_attempt = models.JSONField(
        null=True, help_text="The last request that failed: provider, model, status, code, and its redacted text."
    )

    class Meta:
        db_table = "runs_text"

    def __str__(self) -> str:
        return f"text of {self.run_id}"


class RunStep(Figures):
    """One step of a chain, written at its end; later executions skip the step."""

    pk = models.CompositePrimaryKey("run_id", "expires_at", "position")
    run_id = models.UUIDField()
    expires_at = models.DateTimeField(help_text="The run's own, which says in which partition the row lies.")
    position = models.PositiveSmallIntegerField(help_text="From 1.")
    agent = models.CharField(max_length=64)
    status = models.CharField(max_length=16, choices=Status.choices)
    error_code = models.CharField(max_length=64, default="")
    provider = models.CharField(max_length=32)
    model = models.CharField(max_length=64)
    duration_ms = models.PositiveIntegerField()
    finished_at = models.DateTimeField()
    output = models.TextField()

    class Meta:
        db_table = "runs_step"

    def __str__(self) -> str:
        return f"step {self.position} of {self.run_id}"


class Dimension(models.TextChoices):
    ALL = "all"
    PROVIDER = "provider"
    AGENT = "agent"  # or a chain
    TIER = "tier"
    FIRST_TOKEN = "first_token"  # noqa: S105 - buckets of the time to the first token (`runs.stats.bucket_ms`)


class HourlyFigures(models.Model):
    """Runs that started in one UTC hour, recalculated until all of them have ended."""

    pk = models.CompositePrimaryKey("hour", "by", "name")
    hour = models.DateTimeField()
    by = models.CharField(max_length=16, choices=Dimension.choices)
    name = models.CharField(max_length=64, blank=True, help_text="Of the provider, agent, chain, tier or bucket.")
    succeeded = models.PositiveIntegerField()
    failed = models.PositiveIntegerField()
    cancelled = models.PositiveIntegerField()
    interrupted = models.PositiveIntegerField()
    unfinished = models.PositiveIntegerField()
    tokens = models.PositiveBigIntegerField()
    cost_usd = models.DecimalField(max_digits=14, decimal_places=6, help_text="Without runs on users' own keys.")

    class Meta:
        verbose_name_plural = "hourly figures"
        default_permissions = ("view",)
        indexes = (models.Index(fields=("by", "hour"), name="figures_by_kind"),)

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H}h {self.by} {self.name}"


class ActiveUser(models.Model):
    """A user who started runs on a UTC day, with the hours."""

    # Users, not numbers: counts of users cannot be added up over hours.
    pk = models.CompositePrimaryKey("day", "user")
    day = models.DateField()
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    hours = models.PositiveIntegerField(help_text="A bit an hour, the lowest for midnight.")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.user_id} {self.day}"


class Backlog(models.Model):
    """The longest queue of an hour, sampled once a minute."""

    pk = models.CompositePrimaryKey("hour", "queue")
    hour = models.DateTimeField()
    queue = models.CharField(max_length=16)
    waiting = models.PositiveIntegerField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H}h {self.queue}: {self.waiting}"


class DailySpending(models.Model):
    """A part of a UTC day's cost on the server's keys, by the runs' end."""

    pk = models.CompositePrimaryKey("day", "free", "shard")
    day = models.DateField()
    free = models.BooleanField(help_text="Of users who were on the free tier then.")
    shard = models.PositiveSmallIntegerField(help_text="Which part: runs that end at once write different rows.")
    cost_usd = models.DecimalField(max_digits=14, decimal_places=6, default=0, db_default=0)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.day} {'free' if self.free else 'paying'} {self.shard}: {self.cost_usd}"


class HourlyStarts(models.Model):
    """Number of an owner's starts in the latest hour with a start."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="+")
    hour = models.DateTimeField(help_text="When it began, by the database's clock.")
    starts = models.PositiveIntegerField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.user_id} {self.hour:%Y-%m-%d %H}h: {self.starts}"
