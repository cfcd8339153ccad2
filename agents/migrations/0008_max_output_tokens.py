import django.core.validators
from django.db import migrations, models


def leave_room(apps, schema_editor):
    """Give DeepSeek's reasoner, which is there already, what new installations give it (agents.loader)."""
    models = apps.get_model("agents", "LanguageModel").objects.filter(provider="deepseek", name="deepseek-reasoner")
    models.update(max_output_tokens=32_768)


class Migration(migrations.Migration):

    dependencies = [
        ('agents', '0007_tier_in_words'),
    ]

    operations = [
        migrations.AddField(
            model_name='languagemodel',
            name='max_output_tokens',
            field=models.PositiveIntegerField(blank=True, help_text="The longest output in tokens, reasoning included, in place of the agent's limit. Set it for models that reason: their reasoning counts as output and must leave room for the answer.", null=True, validators=[django.core.validators.MinValueValidator(1)]),
        ),
        migrations.RunPython(leave_room, migrations.RunPython.noop),
    ]
