from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('runs', '0006_runs_by_time'),
    ]

    operations = [
        migrations.AddField(
            model_name='run',
            name='cache_read_tokens',
            field=models.PositiveIntegerField(db_default=0, default=0, help_text='Of the input.'),
        ),
        migrations.AddField(
            model_name='run',
            name='cache_write_tokens',
            field=models.PositiveIntegerField(db_default=0, default=0, help_text='Of the input.'),
        ),
        migrations.AddField(
            model_name='run',
            name='cancelled_by_staff',
            field=models.BooleanField(db_default=False, default=False, help_text='Not by its owner, who pays only for what was shown then.'),
        ),
        migrations.AddField(
            model_name='run',
            name='cost_known',
            field=models.BooleanField(db_default=True, default=True, help_text='No: the price table does not have the model, so the cost is unknown.'),
        ),
        migrations.AddField(
            model_name='run',
            name='provider_status',
            field=models.PositiveSmallIntegerField(help_text="HTTP status of the provider's last answer, where the run failed with it.", null=True),
        ),
        migrations.AddField(
            model_name='run',
            name='reasoning_tokens',
            field=models.PositiveIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='run',
            name='tokens_estimated',
            field=models.BooleanField(db_default=False, default=False, help_text='Not all of them were counted by the provider.'),
        ),
        migrations.AddField(
            model_name='runstep',
            name='cache_read_tokens',
            field=models.PositiveIntegerField(db_default=0, default=0, help_text='Of the input.'),
        ),
        migrations.AddField(
            model_name='runstep',
            name='cache_write_tokens',
            field=models.PositiveIntegerField(db_default=0, default=0, help_text='Of the input.'),
        ),
        migrations.AddField(
            model_name='runstep',
            name='cost_known',
            field=models.BooleanField(db_default=True, default=True, help_text='No: the price table does not have the model, so the cost is unknown.'),
        ),
        migrations.AddField(
            model_name='runstep',
            name='reasoning_tokens',
            field=models.PositiveIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='runstep',
            name='tokens_estimated',
            field=models.BooleanField(db_default=False, default=False, help_text='Not all of them were counted by the provider.'),
        ),
        migrations.AddField(
            model_name='runtext',
            name='error',
            field=models.TextField(db_default='', default='', help_text='Why it failed, as the client was told.'),
        ),
        migrations.AddField(
            model_name='runtext',
            name='last_attempt',
            field=models.JSONField(help_text='The last request that failed: provider, model, status, code, and its redacted text.', null=True),
        ),
        migrations.AlterField(
            model_name='run',
            name='duration_ms',
            field=models.PositiveIntegerField(help_text='From created to finished.', null=True),
        ),
        migrations.AlterField(
            model_name='run',
            name='first_token_ms',
            field=models.PositiveIntegerField(help_text='From created to the first piece of answer.', null=True),
        ),
        migrations.AlterField(
            model_name='run',
            name='output_tokens',
            field=models.PositiveIntegerField(default=0, help_text='Reasoning included.'),
        ),
        migrations.AlterField(
            model_name='runstep',
            name='cost_usd',
            field=models.DecimalField(decimal_places=6, default=0, max_digits=12),
        ),
        migrations.AlterField(
            model_name='runstep',
            name='input_tokens',
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AlterField(
            model_name='runstep',
            name='output_tokens',
            field=models.PositiveIntegerField(default=0, help_text='Reasoning included.'),
        ),
    ]
