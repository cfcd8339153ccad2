"""The chains among the executions that were counted before chains were counted apart."""

from django.db import migrations

COUNT = """
    UPDATE billing_monthlyusage AS usage SET chains = charged.chains FROM (
        SELECT user_id, charged_month, count(*) AS chains FROM runs_run
        WHERE charge IN ('reserved', 'settled') AND chain <> '' GROUP BY user_id, charged_month
    ) AS charged
    WHERE usage.user_id = charged.user_id AND usage.month = charged.charged_month
"""


class Migration(migrations.Migration):
    dependencies = [("runs", "0002_chains_and_events"), ("billing", "0002_tiers")]

    operations = [migrations.RunSQL(COUNT, migrations.RunSQL.noop)]
