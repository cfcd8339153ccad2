"""The process that executes an agent's run; an older release's processes leave it out."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("runs", "0010_runs_under_way")]

    operations = [
        migrations.AddField(
            model_name="run",
            name="executor",
            field=models.PositiveIntegerField(
                help_text="The process that executes an agent's run.", null=True
            ),
        ),
    ]
