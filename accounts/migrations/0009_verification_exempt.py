from django.db import migrations, models

HELP = "Older than the rule that runs need a confirmed address where mails are sent."


class Migration(migrations.Migration):
    """Exempt the accounts that there are: the column comes with true, and is false for those to come."""

    dependencies = [
        ('accounts', '0008_audit_repeats'),
    ]

    operations = [
        migrations.AddField(
            model_name='user',
            name='verification_exempt',
            field=models.BooleanField(db_default=True, default=False, editable=False, help_text=HELP),
        ),
        migrations.AlterField(
            model_name='user',
            name='verification_exempt',
            field=models.BooleanField(db_default=False, default=False, editable=False, help_text=HELP),
        ),
    ]
