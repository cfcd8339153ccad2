"""`manage.py index_repository`: the files of a folder that git does not ignore."""

import io
import os
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from lunaos.infra import locks
from rag.indexing import folders
from rag.models import Chunk, File, IndexJob, Repository
from testing.loopback.embeddings import EmbeddingsServer


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a small repository."""
    root = tmp_path / "shop"
    for path, content in {
        ".gitignore": "*.log\n/build/\nsecret*\n!secret-but-shown.py\n",
        ".git/config": "[core]\n",
        "app.py": "def sell(item):\n    return item.price\n",
        "build/out.py": "x = 1\n",
        "docs/build/page.md": "# Page\n\nWords.\n",
        "docs/.gitignore": "*.tmp\n!kept.log\n",
        "docs/a.tmp": "x",
        "docs/kept.log": "kept lines\n",
        "run.log": "x",
        "secret.py": "x = 1\n",
        "secret-but-shown.py": "shown = 1\n",
        "node/deep/er.js": "function deeper() { return 1 }\n",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content)
    return root


def run(root: Path, user: Any, *arguments: str) -> str:
    output = io.StringIO()
    call_command("index_repository", str(root), "--user", user.email, *arguments, stdout=output, stderr=io.StringIO())
    return output.getvalue()


def test_it_works(tree: Path, alice: Any, embeddings: EmbeddingsServer) -> None:
    output = run(tree, alice)

    assert set(File.objects.values_list("path", flat=True)) == {
        *(".gitignore", "app.py", "docs/build/page.md", "docs/.gitignore", "docs/kept.log"),
        *("secret-but-shown.py", "node/deep/er.js"),
    }
    assert output.startswith("7 files (0 unchanged) with 7 chunks are in shop, 0 removed; ")
    assert "files a second." in output
    job = IndexJob.objects.get(repository__name="shop", repository__user=alice)
    assert (job.kind, job.status, job.files, job.files_done) == ("folder", "succeeded", 7, 7)


def test_the_second_run_indexes_changed_files_only(tree: Path, alice: Any, embeddings: EmbeddingsServer) -> None:
    run(tree, alice)
    embeddings.reset()
    (tree / "app.py").write_text("def buy(item):\n    return item.price\n")
    (tree / "node/deep/er.js").unlink()

    output = run(tree, alice)

    assert output.startswith("6 files (5 unchanged) with 6 chunks are in shop, 1 removed; ")
    assert len(embeddings.texts) == 2
    assert set(Chunk.objects.filter(file__language="python").values_list("symbol", flat=True)) == {"buy", ""}
    assert not File.objects.filter(path="node/deep/er.js").exists()


def test_unreadable_files_are_skipped_with_a_reason(tree: Path, alice: Any, embeddings: EmbeddingsServer) -> None:
    (tree / "image.png").write_bytes(b"\x89PNG\r\n\0\0")
    (tree / "latin1.py").write_bytes("name = 'café'\n".encode("latin-1"))
    (tree / "huge.csv").write_bytes(b"1,2\n" * 600_000)
    (tree / "link.py").symlink_to("/etc/hostname")
    (tree / "linked").symlink_to("/etc")
    Path(os.fsdecode(os.fsencode(tree) + b"/broken\xff.py")).write_text("x = 1\n")

    output = run(tree, alice)

    assert "Skipped: 1 bad_path, 1 binary, 1 oversized, 1 unreadable.\n" in output
    assert "  oversized: huge.csv\n" in output
    reasons = {each["path"]: each["reason"] for each in IndexJob.objects.get().skipped}
    assert reasons == {
        "image.png": "binary",
        "huge.csv": "oversized",
        "link.py": "unreadable",
        "broken\\udcff.py": "bad_path",
    }
    assert Chunk.objects.get(file__path="latin1.py").content == "name = 'café'"
    assert not File.objects.filter(path__startswith="linked").exists()


def test_name_option_and_errors(tree: Path, alice: Any, embeddings: EmbeddingsServer) -> None:
    assert " are in acme/shop, " in run(tree, alice, "--name", "acme/shop")
    with pytest.raises(CommandError, match="is not a folder"):
        run(tree / "app.py", alice)
    with pytest.raises(CommandError, match="The name may not hold"):
        run(tree, alice, "--name", "../x")
    alice.email = "nobody@example.com"
    with pytest.raises(CommandError, match="There is no user"):
        run(tree, alice)


def test_a_failed_job_fails_the_command(tree: Path, alice: Any, embeddings: EmbeddingsServer) -> None:
    embeddings.respond_with(400)
    with pytest.raises(CommandError, match="refused the request"):
        run(tree, alice)


def test_a_locked_repository_fails_the_command(
    tree: Path, alice: Any, embeddings: EmbeddingsServer, monkeypatch: Any
) -> None:
    monkeypatch.setattr("rag.indexing.runner.run_folder", lambda *_: False)
    with pytest.raises(CommandError, match="Another process is indexing"):
        run(tree, alice)
    assert not IndexJob.objects.exists()


def test_repositories_have_separate_locks(alice: Any, embeddings: EmbeddingsServer) -> None:
    with locks.try_lock("rag.repository", 1) as one, locks.try_lock("rag.repository", 2) as other:
        assert one and other


def test_large_folders_are_read_lazily(tmp_path: Path, alice: Any, embeddings: EmbeddingsServer) -> None:
    for n in range(250):
        (tmp_path / f"f{n:03}.py").write_text(f"def f{n}(): return {n}\n")
    reader = folders.read_files(tmp_path, list(folders.walk(tmp_path)))
    assert next(reader).path == "f000.py"
    assert run(tmp_path, alice, "--name", "many").startswith("250 files")
    assert Repository.objects.get(name="many").chunks == 250
