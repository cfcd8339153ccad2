from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    """An index of a table that may be large, made while runs go on being written to it."""

    atomic = False

    dependencies = [
        ('runs', '0009_starts'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='run',
            index=models.Index(condition=models.Q(('status__in', ('queued', 'running'))), fields=['user', 'created_at'], name='runs_under_way'),
        ),
    ]
