"""Count what is stored already, in short transactions beside the old code.

A file that the old code writes meanwhile has no size; `storage.measure` counts it every ten seconds.
"""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models

FILES = """
    WITH batch AS (
        SELECT id FROM rag_file WHERE bytes IS NULL AND repository_id = (
            SELECT repository_id FROM rag_file WHERE bytes IS NULL LIMIT 1
        ) ORDER BY id LIMIT 500 FOR UPDATE SKIP LOCKED
    ),
    measured AS (
        UPDATE rag_file file SET bytes = GREATEST(200, octet_length(file.path) + COALESCE(
            (SELECT sum(octet_length(content)) FROM rag_chunk WHERE rag_chunk.file_id = file.id), 0
        ))
        FROM batch WHERE file.id = batch.id RETURNING file.repository_id, file.bytes
    ),
    summed AS (SELECT repository_id, sum(bytes) AS bytes FROM measured GROUP BY repository_id),
    counted AS (
        UPDATE rag_repository SET bytes = rag_repository.bytes + summed.bytes
        FROM summed WHERE rag_repository.id = summed.repository_id
    )
    SELECT count(*) FROM measured
"""
UPLOADS = """
    UPDATE rag_upload SET bytes = size, growth = size FROM (
        SELECT id, GREATEST(200, octet_length(path) + octet_length(content)) AS size
        FROM rag_upload WHERE bytes = 0 AND reason = '' ORDER BY id LIMIT 100 FOR UPDATE SKIP LOCKED
    ) AS waiting
    WHERE rag_upload.id = waiting.id
"""


def count(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        while cursor.execute(FILES).fetchone()[0]:
            pass
        while cursor.execute(UPLOADS).rowcount:
            pass


class Migration(migrations.Migration):

    atomic = False
    dependencies = [
        ('rag', '0004_stored_bytes'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='file',
            index=models.Index(condition=models.Q(('bytes__isnull', True)), fields=['repository'], name='rag_unmeasured_files'),
        ),
        migrations.RunPython(count, migrations.RunPython.noop),
    ]
