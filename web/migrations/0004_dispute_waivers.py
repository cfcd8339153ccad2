from django.contrib.auth.management import create_permissions
from django.db import migrations

ROLES = ('Billing', 'Admin')


def give(apps, schema_editor):
    """Let roles restore a paid tier after a lost dispute; a role that is not there any more stays away."""
    app = apps.get_app_config('billing')
    app.models_module = True  # else Django takes an app of a migration's state for one without models
    create_permissions(app, apps=apps, verbosity=0)
    app.models_module = None
    waive = apps.get_model('auth', 'Permission').objects.get(
        content_type__app_label='billing', codename='add_disputewaiver'
    )
    for group in apps.get_model('auth', 'Group').objects.filter(name__in=ROLES):
        group.permissions.add(waive)


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0007_dispute_waivers'),
        ('web', '0003_roles_export'),
    ]

    operations = [
        migrations.RunPython(give, migrations.RunPython.noop, elidable=False),
    ]
