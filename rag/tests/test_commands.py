"""`manage.py index_repository` and `manage.py reindex`, as an operator runs them."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lunaos.embedded.servers import until
from rag import services
from rag.indexing import runner
from rag.models import Chunk, File, IndexJob, Repository, Vector
from rag.tests.conftest import source
from testing.commands import run_command
from testing.loopback.embeddings import EmbeddingsServer
from testing.servers import ROOT, environment, process


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a folder of 90 modules."""
    root = tmp_path / "shop"
    for file in map(source, range(90)):
        (root / file.path).parent.mkdir(parents=True, exist_ok=True)
        (root / file.path).write_text(file.content or "")
    return root


def index(user: Any, root: Path, *words: str) -> tuple[int, str, str]:
    return run_command("index_repository", root, "--user", user.email, *words)


def test_it_works(tree: Path, alice: Any, embeddings: EmbeddingsServer) -> None:
    command = [sys.executable, "manage.py", "index_repository", str(tree), "--user", alice.email]
    known = environment(EMBEDDINGS_BASE_URL=embeddings.base_url, LUNAOS_LOG_LEVEL="ERROR")
    done = subprocess.run(command, cwd=ROOT, env=known, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")  # no progress bar without a terminal
    assert done.stdout.startswith("90 files (0 unchanged) with 90 chunks are in shop, 0 removed; ")
    assert Chunk.objects.filter(repository__user=alice).count() == 90


def test_errors_are_reported_in_one_sentence(
    tree: Path, alice: Any, embeddings: EmbeddingsServer, settings: Any
) -> None:
    outcomes = {
        "is not a folder": index(alice, tree / "missing"),
        "The name may not hold": index(alice, tree, "--name", "../x"),
        "There is no user": run_command("index_repository", tree, "--user", "nobody@example.com"),
    }
    settings.EMBEDDINGS_BASE_URL = ""
    outcomes["No embedding model is set up"] = index(alice, tree)
    for said, (code, output, complaint) in outcomes.items():
        assert (code, output) == (1, "")
        assert complaint.startswith("CommandError: ") and said in complaint
    assert not File.objects.exists()


def test_a_refusing_model_fails_the_command(tree: Path, alice: Any, embeddings: EmbeddingsServer) -> None:
    embeddings.respond_with(401)
    refused = "CommandError: The embedding model refused the request with status 401.\n"
    assert index(alice, tree) == (1, "", refused)
    assert IndexJob.objects.get().error_code == "embeddings_error"


def test_a_killed_command_leaves_complete_files_and_can_be_repeated(
    tree: Path, tmp_path: Path, alice: Any, embeddings: EmbeddingsServer
) -> None:
    command = ["manage.py", "index_repository", str(tree), "--user", alice.email]
    with process(command, tmp_path / "killed.log", EMBEDDINGS_BASE_URL=embeddings.base_url) as child:
        with embeddings.blocked(after=8):
            assert all(embeddings.received.acquire(timeout=30) for _ in range(9))
            code, _, complaint = index(alice, tree)
            child.send_signal(signal.SIGKILL)
            child.wait(10)
    assert code == 1
    assert "Another process is indexing this repository" in complaint
    assert File.objects.count() == Chunk.objects.count() == Vector.objects.count() == 64

    repository = Repository.objects.get()
    assert until(lambda: _ended(repository), 20)  # PostgreSQL must notice the lost connection
    assert IndexJob.objects.get().error_code == "indexing_interrupted"
    assert index(alice, tree)[1].startswith("90 files (64 unchanged) with 90 chunks are in shop")
    assert Chunk.objects.count() == Vector.objects.count() == 90


def _ended(repository: Repository) -> bool:
    """Run the repository as a worker does when beat enqueues it again."""
    runner.run(repository.pk)
    return not IndexJob.objects.filter(repository=repository, status__in=("queued", "running")).exists()


def test_reindex_lists_the_started_jobs(alice: Any, bob: Any, embeddings: EmbeddingsServer, settings: Any) -> None:
    for user in (alice, bob):
        services.index_files(user=user, repository="shop", files=[source(1)])
    assert "0 repositories are moving" in run_command("reindex")[1]
    settings.EMBEDDINGS_MODEL = "larger-model"
    code, output, complaint = run_command("reindex", "--user", alice.email.upper())

    assert (code, complaint) == (0, "")
    job = IndexJob.objects.get(kind="reindex")
    assert job.repository.user == alice
    assert output == f"shop: job {job.pk}\n1 repository is moving to larger-model.\n"
    assert Repository.objects.filter(model="larger-model").count() == 0  # workers do that


def test_reindex_without_a_model_fails(alice: Any, embeddings: EmbeddingsServer, settings: Any) -> None:
    services.index_files(user=alice, repository="shop", files=[source(1)])
    settings.EMBEDDINGS_BASE_URL, settings.EMBEDDINGS_MODEL = "", "larger-model"
    assert run_command("reindex") == (1, "", "CommandError: No embedding model is set up on this server.\n")
