from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0006_result_of_any_length'),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='user',
            options={'ordering': ('-created_at',), 'permissions': (('unlock_user', 'Can unlock sign-in'), ('disable_user', 'Can disable and enable accounts'), ('end_sessions_of_user', "Can end a user's sessions"), ('send_reset_to_user', 'Can send a password reset'), ('export_lists', 'Can export the lists that they may see'))},
        ),
    ]
