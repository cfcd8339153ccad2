from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    """Indexes of a table that may be large, made while runs go on being written to it."""

    atomic = False

    dependencies = [("runs", "0012_api_key")]

    operations = [
        AddIndexConcurrently(
            model_name="run",
            index=models.Index(
                condition=models.Q(("api_key_id__isnull", False)),
                fields=["api_key_id", "-created_at", "-id"],
                name="runs_of_key",
            ),
        ),
        AddIndexConcurrently(model_name="run", index=models.Index(fields=["request_id"], name="runs_by_request")),
    ]
