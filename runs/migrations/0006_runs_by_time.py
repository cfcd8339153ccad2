from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    """Indexes of a table that may be large, made while runs go on being written to it."""

    atomic = False

    dependencies = [
        ('runs', '0005_figures'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='run',
            index=models.Index(fields=['-created_at', '-id'], name='runs_by_time'),
        ),
        AddIndexConcurrently(
            model_name='run',
            index=models.Index(condition=models.Q(('status__in', ('failed', 'interrupted'))), fields=['-created_at'], name='runs_failed'),
        ),
    ]
