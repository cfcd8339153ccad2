from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('rag', '0003_cascades_and_terms'),
    ]

    operations = [
        migrations.AddField(
            model_name='repository',
            name='bytes',
            field=models.BigIntegerField(db_default=0, default=0, help_text="The sum of its files' bytes; store.py keeps it."),
        ),
        migrations.AddField(
            model_name='file',
            name='bytes',
            field=models.BigIntegerField(help_text='As in sizes.py; null until measured, in rows of older versions.', null=True),
        ),
        migrations.AddField(
            model_name='upload',
            name='bytes',
            field=models.BigIntegerField(db_default=0, default=0, help_text='Waiting; 0 as soon as the file is in the index.'),
        ),
        migrations.AddField(
            model_name='upload',
            name='growth',
            field=models.BigIntegerField(db_default=0, default=0, help_text='By how much the file may enlarge the repository; 0 likewise.'),
        ),
    ]
