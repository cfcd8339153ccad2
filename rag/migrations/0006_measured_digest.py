"""Tell which content a file's bytes were measured for, since old code that replaces a file leaves the bytes as they were."""

from django.db import migrations, models

MEASURED = """
    UPDATE rag_file SET measured_digest = digest WHERE id IN (
        SELECT id FROM rag_file WHERE bytes IS NOT NULL AND measured_digest = ''
        ORDER BY id LIMIT 5000 FOR UPDATE SKIP LOCKED
    )
"""


def mark(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        while cursor.execute(MEASURED).rowcount:
            pass


class Migration(migrations.Migration):

    atomic = False
    dependencies = [
        ('rag', '0005_count_stored_bytes'),
    ]

    operations = [
        migrations.AddField(
            model_name='file',
            name='measured_digest',
            field=models.CharField(db_default='', default='', help_text='Of the content that has these bytes; an older release leaves it behind.', max_length=64),
        ),
        migrations.RunPython(mark, migrations.RunPython.noop),
    ]
