from django.contrib.auth.management import create_permissions
from django.db import migrations

# What each role may do, by app. Superusers give roles; no role may change groups, or staff.
ROLES = {
    'Support': {
        'accounts': ['view_user', 'view_auditevent', 'unlock_user', 'send_reset_to_user'],
        'apikeys': ['view_apikey'],
        'agents': ['view_agent', 'view_languagemodel', 'view_providerkey'],
        'runs': ['view_hourlyfigures', 'view_run'],
        'rag': ['view_repository', 'view_indexjob'],
        'billing': ['view_tier', 'view_monthlyusage', 'view_grant'],
        'djstripe': ['view_subscription', 'view_invoice'],
    },
    'Billing': {
        'accounts': ['view_user'],
        'runs': ['view_hourlyfigures'],
        'billing': [
            *('view_tier', 'add_tier', 'change_tier', 'view_monthlyusage'),
            *('view_grant', 'add_grant', 'view_webhookevent'),
        ],
        'djstripe': ['view_subscription', 'view_invoice'],
    },
    'Catalogue editor': {
        'runs': ['view_hourlyfigures'],
        'agents': [
            *('view_agent', 'add_agent', 'change_agent', 'delete_agent'),
            *('view_languagemodel', 'add_languagemodel', 'change_languagemodel', 'delete_languagemodel'),
        ],
    },
    'Admin': {
        'accounts': [
            *('view_user', 'add_user', 'change_user', 'delete_user', 'view_auditevent'),
            *('unlock_user', 'send_reset_to_user', 'end_sessions_of_user', 'disable_user'),
        ],
        'auth': ['view_group'],
        'apikeys': ['view_apikey', 'revoke_apikey'],
        'agents': [
            *('view_agent', 'add_agent', 'change_agent', 'delete_agent'),
            *('view_languagemodel', 'add_languagemodel', 'change_languagemodel', 'delete_languagemodel'),
            *('view_providerkey', 'delete_providerkey'),
        ],
        'runs': ['view_hourlyfigures', 'view_run', 'cancel_run'],
        'rag': ['view_repository', 'delete_repository', 'view_indexjob', 'delete_indexjob'],
        'billing': [
            *('view_tier', 'add_tier', 'change_tier', 'view_monthlyusage'),
            *('view_grant', 'add_grant', 'view_webhookevent'),
        ],
        'djstripe': ['view_subscription', 'view_invoice'],
    },
}


def make(apps, schema_editor):
    """Groups and their permissions; a role that an installation has changed since is left alone."""
    Group, Permission = apps.get_model('auth', 'Group'), apps.get_model('auth', 'Permission')
    for label in ('accounts', 'auth', 'apikeys', 'agents', 'runs', 'rag', 'billing', 'djstripe'):
        app = apps.get_app_config(label)
        app.models_module = True  # else Django takes an app of a migration's state for one without models
        create_permissions(app, apps=apps, verbosity=0)
        app.models_module = None
    for name, by_app in ROLES.items():
        group, made = Group.objects.get_or_create(name=name)
        for label, codenames in by_app.items() if made else ():
            found = Permission.objects.filter(content_type__app_label=label, codename__in=codenames)
            if missing := set(codenames) - {each.codename for each in found}:
                raise LookupError(f'{name}: {label} has no permissions {sorted(missing)}')
            group.permissions.add(*found)


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0005_staff_permissions'),
        ('agents', '0004_provider_keys'),
        ('apikeys', '0001_initial'),
        ('auth', '0012_alter_user_first_name_max_length'),
        ('billing', '0003_stripe'),
        ('djstripe', '0001_initial'),
        ('rag', '0003_cascades_and_terms'),
        ('runs', '0006_runs_by_time'),
    ]

    operations = [
        migrations.RunPython(make, migrations.RunPython.noop, elidable=False),
    ]
