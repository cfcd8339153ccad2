"""The API key that started a run; an older release's processes leave it out."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("runs", "0011_executor")]

    operations = [
        migrations.AddField(
            model_name="run",
            name="api_key_id",
            field=models.UUIDField(help_text="The key that started the run; null for a token.", null=True, verbose_name="API key"),
        ),
        migrations.AddField(
            model_name="run",
            name="api_key_prefix",
            field=models.CharField(blank=True, db_default="", default="", help_text="The beginning of that key.", max_length=32, verbose_name="API key"),
        ),
    ]
