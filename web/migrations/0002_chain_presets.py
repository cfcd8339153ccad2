from django.contrib.auth.management import create_permissions
from django.db import migrations

EVERYTHING = ('view_chainpreset', 'add_chainpreset', 'change_chainpreset', 'delete_chainpreset')
ROLES = {'Support': ('view_chainpreset',), 'Catalogue editor': EVERYTHING, 'Admin': EVERYTHING}


def allow(apps, schema_editor):
    """What roles may do with chain presets; a role that an installation has taken away stays away."""
    Group, Permission = apps.get_model('auth', 'Group'), apps.get_model('auth', 'Permission')
    chains = apps.get_app_config('chains')
    chains.models_module = True  # else Django takes an app of a migration's state for one without models
    create_permissions(chains, apps=apps, verbosity=0)
    chains.models_module = None
    for group in Group.objects.filter(name__in=ROLES):
        found = Permission.objects.filter(content_type__app_label='chains', codename__in=ROLES[group.name])
        group.permissions.add(*found)


class Migration(migrations.Migration):

    dependencies = [
        ('web', '0001_staff_roles'),
        ('chains', '0002_presets'),
    ]

    operations = [
        migrations.RunPython(allow, migrations.RunPython.noop, elidable=False),
    ]
