from django.contrib.auth.management import create_permissions
from django.db import migrations

ROLES = ('Support', 'Admin')
# Staff search for an invoice by its number, which lies in Stripe's JSON. dj-stripe's models cannot have our index.
CREATE_INDEX = "CREATE INDEX CONCURRENTLY IF NOT EXISTS invoices_by_number ON djstripe_invoice ((stripe_data ->> 'number'))"
DROP_INDEX = 'DROP INDEX CONCURRENTLY IF EXISTS invoices_by_number'


def give(apps, schema_editor):
    """Who answers customers may see refused requests; a role that is not there any more stays away."""
    app = apps.get_app_config('refusals')
    app.models_module = True  # else Django takes an app of a migration's state for one without models
    create_permissions(app, apps=apps, verbosity=0)
    app.models_module = None
    view = apps.get_model('auth', 'Permission').objects.get(
        content_type__app_label='refusals', codename='view_refusal'
    )
    for group in apps.get_model('auth', 'Group').objects.filter(name__in=ROLES):
        group.permissions.add(view)


class Migration(migrations.Migration):

    atomic = False  # for the index

    dependencies = [
        ('djstripe', '0001_initial'),
        ('refusals', '0001_initial'),
        ('web', '0004_dispute_waivers'),
    ]

    operations = [
        migrations.RunPython(give, migrations.RunPython.noop, elidable=False),
        migrations.RunSQL(CREATE_INDEX, DROP_INDEX),
    ]
