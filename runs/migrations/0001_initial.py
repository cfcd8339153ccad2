import django.db.models.deletion
import uuid
from django.conf import settings
from django.db import migrations, models


# Partitioned from the start: a month's texts are dropped as files, at once (`runs.partitions` makes the months).
# The default partition takes what no month does, so that a late beat never costs a run.
CREATE_TEXT = """
    CREATE TABLE runs_text (
        run_id uuid NOT NULL,
        created_at timestamptz NOT NULL,
        input text NOT NULL,
        output text NOT NULL,
        PRIMARY KEY (run_id, created_at)
    ) PARTITION BY RANGE (created_at);
    CREATE TABLE runs_text_default PARTITION OF runs_text DEFAULT;
"""


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(CREATE_TEXT, "DROP TABLE runs_text")
            ],
            state_operations=[
                migrations.CreateModel(
                    name="RunText",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "run_id",
                                "created_at",
                                blank=True,
                                editable=False,
                                primary_key=True,
                                serialize=False,
                            ),
                        ),
                        ("run_id", models.UUIDField()),
                        (
                            "created_at",
                            models.DateTimeField(
                                help_text="The run's own, which says in which partition the row lies."
                            ),
                        ),
                        ("input", models.TextField()),
                        ("output", models.TextField(default="")),
                    ],
                    options={
                        "db_table": "runs_text",
                    },
                ),
            ],
        ),
        migrations.CreateModel(
            name="Run",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("agent", models.CharField(max_length=64)),
                ("provider", models.CharField(max_length=32)),
                ("model", models.CharField(max_length=64)),
                (
                    "status",
                    models.CharField(
                        choices=[
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
                ("error_code", models.CharField(blank=True, max_length=64)),
                ("input_tokens", models.PositiveIntegerField(default=0)),
                ("output_tokens", models.PositiveIntegerField(default=0)),
                (
                    "cost_usd",
                    models.DecimalField(decimal_places=6, default=0, max_digits=12),
                ),
                ("duration_ms", models.PositiveIntegerField(null=True)),
                (
                    "first_token_ms",
                    models.PositiveIntegerField(
                        help_text="From the request to the first piece of answer.",
                        null=True,
                    ),
                ),
                (
                    "charge",
                    models.CharField(
                        choices=[
                            ("reserved", "Reserved"),
                            ("settled", "Settled"),
                            ("released", "Released"),
                        ],
                        default="reserved",
                        max_length=16,
                    ),
                ),
                (
                    "charged_month",
                    models.DateField(
                        help_text="The month whose quota the execution was taken from."
                    ),
                ),
                ("request_id", models.CharField(max_length=128)),
                ("created_at", models.DateTimeField()),
                ("finished_at", models.DateTimeField(null=True)),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="runs",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ("-created_at", "-id"),
                "indexes": [
                    models.Index(
                        fields=["user", "-created_at", "-id"], name="runs_of_user"
                    ),
                    models.Index(
                        condition=models.Q(("status", "running")),
                        fields=["created_at"],
                        name="runs_alive",
                    ),
                ],
            },
        ),
    ]
