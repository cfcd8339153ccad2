from django.contrib.auth.management import create_permissions
from django.db import migrations

ROLES = ('Billing', 'Admin')


def give(apps, schema_editor):
    """Who keeps the books and who keeps the house may take lists along; a role that is not there any more stays away."""
    app = apps.get_app_config('accounts')
    app.models_module = True  # else Django takes an app of a migration's state for one without models
    create_permissions(app, apps=apps, verbosity=0)
    app.models_module = None
    export = apps.get_model('auth', 'Permission').objects.get(
        content_type__app_label='accounts', codename='export_lists'
    )
    for group in apps.get_model('auth', 'Group').objects.filter(name__in=ROLES):
        group.permissions.add(export)


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0007_export_lists'),
        ('web', '0002_chain_presets'),
    ]

    operations = [
        migrations.RunPython(give, migrations.RunPython.noop, elidable=False),
    ]
