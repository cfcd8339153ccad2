from django.conf import settings
from django.db import migrations, models

# The lock comes first: each statement of a volatile function has a snapshot of its own (READ COMMITTED), so that what
# other starts of the owner have committed meanwhile is seen.
STANDING = """
    CREATE FUNCTION runs_standing(owner uuid, OUT under_way uuid[], OUT starts integer)
    LANGUAGE plpgsql VOLATILE AS $$
    BEGIN
        PERFORM pg_advisory_xact_lock(hashtext('lunaos.runs.starts'), hashtext(owner::text));
        SELECT COALESCE(array_agg(run.id ORDER BY run.created_at), '{}') INTO under_way
        FROM runs_run AS run WHERE run.user_id = owner AND run.status IN ('queued', 'running');
        SELECT COALESCE(max(counted.starts), 0) INTO starts
        FROM runs_hourlystarts AS counted
        WHERE counted.user_id = owner AND counted.hour = date_trunc('hour', now(), 'UTC');
    END $$;
"""


class Migration(migrations.Migration):

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ('runs', '0008_daily_spending'),
    ]

    operations = [
        migrations.CreateModel(
            name='HourlyStarts',
            fields=[
                ('user', models.OneToOneField(on_delete=models.deletion.CASCADE, primary_key=True, related_name='+', serialize=False, to=settings.AUTH_USER_MODEL)),
                ('hour', models.DateTimeField(help_text="When it began, by the database's clock.")),
                ('starts', models.PositiveIntegerField()),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.RunSQL(STANDING, "DROP FUNCTION runs_standing"),
    ]
