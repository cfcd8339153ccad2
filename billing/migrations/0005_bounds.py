import django.core.validators
from django.db import migrations, models


BOUNDS = (  # CONTRACT, section 1; staff may change them from here on
    ("free", 2, 100, 100_000_000, 5),
    ("pro", 10, 2_000, 5_000_000_000, 100),
    ("team", 50, 20_000, 50_000_000_000, 1_000),
)


def set_bounds(apps, schema_editor):
    for name, executions_at_once, starts_per_hour, stored_bytes, repositories in BOUNDS:
        apps.get_model("billing", "Tier").objects.filter(name=name).update(
            executions_at_once=executions_at_once,
            starts_per_hour=starts_per_hour,
            stored_bytes=stored_bytes,
            repositories=repositories,
        )


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0004_tiers_in_order'),
    ]

    operations = [
        migrations.AddField(
            model_name='tier',
            name='executions_at_once',
            field=models.PositiveIntegerField(db_default=2, default=2, help_text='Runs under way of one user.', validators=[django.core.validators.MinValueValidator(1)]),
        ),
        migrations.AddField(
            model_name='tier',
            name='repositories',
            field=models.PositiveIntegerField(db_default=5, default=5, help_text='In code search.'),
        ),
        migrations.AddField(
            model_name='tier',
            name='starts_per_hour',
            field=models.PositiveIntegerField(db_default=100, default=100, help_text='Runs a user may start in an hour, those on own provider keys and those that fail included.', validators=[django.core.validators.MinValueValidator(1)]),
        ),
        migrations.AddField(
            model_name='tier',
            name='stored_bytes',
            field=models.PositiveBigIntegerField(db_default=100000000, default=100000000, help_text='Of files in code search, all repositories together.'),
        ),
        migrations.RunPython(set_bounds, migrations.RunPython.noop),
    ]
