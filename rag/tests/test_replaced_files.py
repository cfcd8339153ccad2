"""Files that a worker of an older release replaced during an upgrade, and `manage.py check_storage --repair`."""

import importlib
from typing import Any

import pytest
from django.db import connection

from rag import storage
from rag.indexing.indexer import SourceFile
from rag.models import File, Repository
from rag.tests.test_storage import counted_usage, file, index
from testing.commands import run_command
from testing.loopback.embeddings import EmbeddingsServer


def replace_by_old_code(user: Any, *contents: SourceFile) -> None:
    """Replace files like a worker of the release before counting, which leaves both columns unchanged."""
    before = dict(File.objects.values_list("path", "bytes")), dict(File.objects.values_list("path", "measured_digest"))
    counted = Repository.objects.get().bytes
    index(user, *contents)
    for each in contents:
        old_bytes, old_digest = (known[each.path] for known in before)
        File.objects.filter(path=each.path).update(bytes=old_bytes, measured_digest=old_digest)
    Repository.objects.update(bytes=counted)


def test_a_repair_finds_files_that_old_code_replaced(alice: Any, embeddings: EmbeddingsServer) -> None:
    index(alice, file("grown.py", 400), file("shrunk.py", 4_000), file("same.py", 700))
    replace_by_old_code(alice, file("grown.py", 3_000), file("shrunk.py", 500))
    assert storage.usage(alice).bytes == 5_100

    code, _, said = run_command("check_storage")

    assert code == 1 and "counted 5100 bytes, stored 5100, 2 files without their size" in said
    assert run_command("check_storage", "--repair")[0] == 0 and run_command("check_storage")[0] == 0
    assert File.objects.get(path="same.py").bytes == 700
    assert counted_usage(alice)[0] == pytest.approx(3_000 + 500 + 700, rel=0.05)


def test_another_replacement_makes_the_counter_exact_again(alice: Any, embeddings: EmbeddingsServer) -> None:
    index(alice, file("a.py", 400))
    replace_by_old_code(alice, file("a.py", 3_000))
    index(alice, file("a.py", 1_000))
    assert counted_usage(alice)[0] == 1_000


def test_the_migration_keeps_measured_sizes(alice: Any, embeddings: EmbeddingsServer) -> None:
    index(alice, file("a.py", 400))
    File.objects.update(measured_digest="")
    migration = importlib.import_module("rag.migrations.0006_measured_digest")
    with connection.schema_editor() as editor:
        migration.mark(None, editor)
    assert counted_usage(alice)[0] == 400
