from django.contrib.auth.management import create_permissions
from django.db import migrations

ROLES = ('Support', 'Admin')


def give(apps, schema_editor):
    """Those who answer customers read and write notes; a role that is not there any more stays away."""
    app = apps.get_app_config('accounts')
    app.models_module = True  # else Django takes an app of a migration's state for one without models
    create_permissions(app, apps=apps, verbosity=0)
    app.models_module = None
    permissions = apps.get_model('auth', 'Permission').objects.filter(
        content_type__app_label='accounts', codename__in=('view_usernote', 'add_usernote')
    )
    for group in apps.get_model('auth', 'Group').objects.filter(name__in=ROLES):
        group.permissions.add(*permissions)


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0011_notes'),
        ('web', '0005_support'),
    ]

    operations = [
        migrations.RunPython(give, migrations.RunPython.noop, elidable=False),
    ]
