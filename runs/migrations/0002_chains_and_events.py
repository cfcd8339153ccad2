from datetime import timedelta

import django.contrib.postgres.fields
from django.db import migrations, models
from django.db.models import F
from django.utils import timezone

TEXT = """
    CREATE TABLE runs_text_new (
        run_id uuid NOT NULL,
        expires_at timestamptz NOT NULL,
        input text NOT NULL,
        output text NOT NULL,
        events text NOT NULL,
        PRIMARY KEY (run_id, expires_at)
    ) PARTITION BY RANGE (expires_at);
    CREATE TABLE runs_text_new_default PARTITION OF runs_text_new DEFAULT;
    INSERT INTO runs_text_new SELECT run_id, expires_at, input, output, ''
    FROM runs_text JOIN runs_run ON runs_run.id = run_id;
    DROP TABLE runs_text;
    ALTER TABLE runs_text_new RENAME TO runs_text;
    ALTER TABLE runs_text_new_default RENAME TO runs_text_default;
"""
STEP = """
    CREATE TABLE runs_step (
        run_id uuid NOT NULL,
        expires_at timestamptz NOT NULL,
        position smallint NOT NULL,
        agent varchar(64) NOT NULL,
        status varchar(16) NOT NULL,
        error_code varchar(64) NOT NULL,
        provider varchar(32) NOT NULL,
        model varchar(64) NOT NULL,
        input_tokens integer NOT NULL,
        output_tokens integer NOT NULL,
        cost_usd numeric(12, 6) NOT NULL,
        duration_ms integer NOT NULL,
        finished_at timestamptz NOT NULL,
        output text NOT NULL,
        PRIMARY KEY (run_id, expires_at, position)
    ) PARTITION BY RANGE (expires_at);
    CREATE TABLE runs_step_default PARTITION OF runs_step DEFAULT;
"""


def fill(apps, schema_editor):
    """Runs of before: ninety days, and alive when they began."""
    apps.get_model("runs", "Run").objects.update(
        expires_at=F("created_at") + timedelta(days=90), heartbeat_at=F("created_at")
    )


class Migration(migrations.Migration):
    dependencies = [("runs", "0001_initial")]

    operations = [
        migrations.AlterField(
            "run",
            "agent",
            models.CharField(blank=True, help_text="The agent's slug; empty for a chain.", max_length=64),
        ),
        migrations.AddField(
            "run",
            "chain",
            models.CharField(
                blank=True, default="", help_text="The preset's id or `custom`; empty for an agent.", max_length=64
            ),
            preserve_default=False,
        ),
        migrations.AddField(
            "run",
            "steps",
            django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=64),
                default=list,
                help_text="The agents of a chain, in order.",
                size=None,
            ),
        ),
        migrations.AlterField(
            "run",
            "provider",
            models.CharField(help_text="Who answered; for a chain, who was asked for.", max_length=32),
        ),
        migrations.AlterField(
            "run",
            "status",
            models.CharField(
                choices=[
                    ("queued", "Queued"),
                    ("running", "Running"),
                    ("succeeded", "Succeeded"),
                    ("failed", "Failed"),
                    ("cancelled", "Cancelled"),
                    ("interrupted", "Interrupted"),
                ],
                default="running",
                max_length=16,
            ),
        ),
        migrations.AddField(
            "run",
            "attempt",
            models.PositiveIntegerField(default=1, help_text="Executions so far; the highest one counts."),
        ),
        migrations.AddField(
            "run",
            "losses",
            models.PositiveSmallIntegerField(
                default=0, help_text="Executors that died since it was begun or resumed."
            ),
        ),
        migrations.AddField("run", "cancel_requested_at", models.DateTimeField(null=True)),
        migrations.AddField(
            "run",
            "heartbeat_at",
            models.DateTimeField(
                default=timezone.now, help_text="The executor's last sign of life; while queued, when it was queued."
            ),
            preserve_default=False,
        ),
        migrations.AddField(
            "run",
            "expires_at",
            models.DateTimeField(
                default=timezone.now, help_text="When its texts are dropped; says in which partition they lie."
            ),
            preserve_default=False,
        ),
        migrations.AlterModelOptions(
            "run", {"ordering": ("-created_at", "-id"), "permissions": (("cancel_run", "Can cancel run"),)}
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.RemoveIndex("run", "runs_alive"),
        migrations.AddIndex(
            "run",
            models.Index(
                condition=models.Q(("status__in", ("queued", "running"))), fields=["created_at"], name="runs_unfinished"
            ),
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(TEXT), migrations.RunSQL(STEP)],
            state_operations=[
                migrations.DeleteModel("RunText"),
                migrations.CreateModel(
                    "RunText",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "run_id", "expires_at", blank=True, editable=False, primary_key=True, serialize=False
                            ),
                        ),
                        ("run_id", models.UUIDField()),
                        (
                            "expires_at",
                            models.DateTimeField(
                                help_text="The run's own, which says in which partition the row lies."
                            ),
                        ),
                        ("input", models.TextField()),
                        ("output", models.TextField(default="")),
                        (
                            "events",
                            models.TextField(
                                default="", help_text="One JSON object a line; the line's number is the event's id."
                            ),
                        ),
                    ],
                    options={"db_table": "runs_text"},
                ),
                migrations.CreateModel(
                    "RunStep",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "run_id",
                                "expires_at",
                                "position",
                                blank=True,
                                editable=False,
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        ("run_id", models.UUIDField()),
                        (
                            "expires_at",
                            models.DateTimeField(
                                help_text="The run's own, which says in which partition the row lies."
                            ),
                        ),
                        ("position", models.PositiveSmallIntegerField(help_text="From 1.")),
                        ("agent", models.CharField(max_length=64)),
                        (
                            "status",
                            models.CharField(
                                choices=[
                                    ("queued", "Queued"),
                                    ("running", "Running"),
                                    ("succeeded", "Succeeded"),
                                    ("failed", "Failed"),
                                    ("cancelled", "Cancelled"),
                                    ("interrupted", "Interrupted"),
                                ],
                                max_length=16,
                            ),
                        ),
                        ("error_code", models.CharField(default="", max_length=64)),
                        ("provider", models.CharField(max_length=32)),
                        ("model", models.CharField(max_length=64)),
                        ("input_tokens", models.PositiveIntegerField()),
                        ("output_tokens", models.PositiveIntegerField()),
                        ("cost_usd", models.DecimalField(decimal_places=6, max_digits=12)),
                        ("duration_ms", models.PositiveIntegerField()),
                        ("finished_at", models.DateTimeField()),
                        ("output", models.TextField()),
                    ],
                    options={"db_table": "runs_step"},
                ),
            ],
        ),
    ]
