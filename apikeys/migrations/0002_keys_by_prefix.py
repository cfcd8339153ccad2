import django.contrib.postgres.fields
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    """An index for staff who search for a key, made while keys are used."""

    atomic = False

    dependencies = [("apikeys", "0001_initial")]

    operations = [
        migrations.AlterModelOptions(
            name="apikey",
            options={
                "ordering": ("-created_at",),
                "permissions": (("revoke_apikey", "Can revoke API key"),),
                "verbose_name": "API key",
            },
        ),
        migrations.AlterField(
            model_name="apikey",
            name="prefix",
            field=models.CharField(help_text="The beginning of the key.", max_length=32),
        ),
        migrations.AlterField(
            model_name="apikey",
            name="scopes",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=32), help_text="What the key may be used for.", size=None
            ),
        ),
        AddIndexConcurrently(
            model_name="apikey",
            index=models.Index(fields=["prefix"], name="keys_by_prefix", opclasses=("varchar_pattern_ops",)),
        ),
    ]
