"""Refused requests, partitioned by month; the default partition takes a month that no task has created yet."""

import uuid

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

TABLE = """
    CREATE TABLE refusals_refusal (
        id uuid NOT NULL,
        minute timestamptz NOT NULL,
        user_id uuid NOT NULL,
        key_id uuid NULL,
        key_prefix varchar(32) NOT NULL,
        code varchar(64) NOT NULL,
        count integer NOT NULL CHECK (count >= 0),
        first_request_id varchar(128) NOT NULL,
        last_request_id varchar(128) NOT NULL,
        message varchar(300) NOT NULL,
        PRIMARY KEY (id, minute)
    ) PARTITION BY RANGE (minute)
"""
CREATE = (
    " ".join(TABLE.split()),  # one line, by which `tools.ci.migrations` knows a new table
    "CREATE INDEX refusals_of_user ON refusals_refusal (user_id, minute DESC)",
    "CREATE INDEX refusals_of_key ON refusals_refusal (key_id, minute DESC)",
    "CREATE INDEX refusals_by_time ON refusals_refusal (minute DESC, id DESC)",
    "CREATE INDEX refusals_by_first ON refusals_refusal (first_request_id)",
    "CREATE INDEX refusals_by_last ON refusals_refusal (last_request_id)",
    "CREATE TABLE refusals_refusal_default PARTITION OF refusals_refusal DEFAULT",
)


class Migration(migrations.Migration):
    initial = True

    dependencies = [migrations.swappable_dependency(settings.AUTH_USER_MODEL)]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(CREATE, "DROP TABLE refusals_refusal")],
            state_operations=[
                migrations.CreateModel(
                    name="Refusal",
                    fields=[
                        ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                        ("minute", models.DateTimeField()),
                        ("key_id", models.UUIDField(help_text="Stays when the key is deleted; null for a token.", null=True, verbose_name="API key")),
                        ("key_prefix", models.CharField(blank=True, help_text="Empty for a token.", max_length=32, verbose_name="key")),
                        ("code", models.CharField(help_text="Error code of the answer.", max_length=64)),
                        ("count", models.PositiveIntegerField(verbose_name="requests")),
                        ("first_request_id", models.CharField(blank=True, max_length=128)),
                        ("last_request_id", models.CharField(blank=True, max_length=128)),
                        ("message", models.CharField(blank=True, help_text="Of the last answer.", max_length=300)),
                        (
                            "user",
                            models.ForeignKey(
                                db_constraint=False,
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="refusals",
                                to=settings.AUTH_USER_MODEL,
                            ),
                        ),
                    ],
                    options={
                        "verbose_name": "refused request",
                        "ordering": ("-minute", "-id"),
                        "default_permissions": ("view",),
                        "indexes": [
                            models.Index(fields=["user", "-minute"], name="refusals_of_user"),
                            models.Index(fields=["key_id", "-minute"], name="refusals_of_key"),
                            models.Index(fields=["-minute", "-id"], name="refusals_by_time"),
                            models.Index(fields=["first_request_id"], name="refusals_by_first"),
                            models.Index(fields=["last_request_id"], name="refusals_by_last"),
                        ],
                    },
                )
            ],
        )
    ]
