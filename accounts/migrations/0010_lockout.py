from django.db import migrations, models

# The tables of django-axes, which kept counters and known addresses before; a new installation has none.
# Processes of the release before go on using them, so they stay; a later release drops them.
COPY = """
DO $$
BEGIN
    IF to_regclass('axes_accessattempt') IS NOT NULL THEN
        INSERT INTO accounts_signincounter (email, address, scope, attempts, counted_since)
        SELECT username, ip_address, user_agent, failures_since_start, attempt_time
        FROM axes_accessattempt
        WHERE username IS NOT NULL AND ip_address IS NOT NULL AND user_agent IN ('address', 'account')
        ON CONFLICT DO NOTHING;
    END IF;
    IF to_regclass('axes_accesslog') IS NOT NULL THEN
        INSERT INTO accounts_knownaddress (email, address, last_seen_at)
        SELECT username, ip_address, max(attempt_time)
        FROM axes_accesslog
        WHERE username IS NOT NULL AND ip_address IS NOT NULL
        GROUP BY username, ip_address
        ON CONFLICT DO NOTHING;
    END IF;
END
$$
"""


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0009_verification_exempt'),
    ]

    operations = [
        migrations.CreateModel(
            name='SignInCounter',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('email', models.CharField(max_length=255)),
                ('address', models.GenericIPAddressField()),
                ('scope', models.CharField(max_length=16)),
                ('attempts', models.PositiveIntegerField()),
                ('counted_since', models.DateTimeField(db_index=True)),
            ],
            options={
                'default_permissions': (),
                'constraints': [models.UniqueConstraint(fields=('email', 'address', 'scope'), name='one_counter_an_address_and_scope')],
            },
        ),
        migrations.CreateModel(
            name='KnownAddress',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('email', models.CharField(max_length=255)),
                ('address', models.GenericIPAddressField()),
                ('last_seen_at', models.DateTimeField(db_index=True)),
            ],
            options={
                'default_permissions': (),
                'constraints': [models.UniqueConstraint(fields=('email', 'address'), name='one_row_a_known_address')],
            },
        ),
        migrations.RunSQL(COPY, migrations.RunSQL.noop),
    ]
