"""rag.chunking.pool: a file at which a grammar aborts or hangs costs itself only."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Thread
from typing import Any

import psutil
import pytest

from lunaos.embedded.servers import until
from rag import services
from rag.chunking import pool as cutting
from rag.chunking.chunker import Chunker, Piece
from rag.models import Chunk, IndexJob
from rag.tests.conftest import source
from rag.tests.test_chunking import PYTHON
from testing.client import Api
from testing.embeddings import EmbeddingsServer
from testing.servers import ROOT

WINDOW = 60
SLOW = "(word\n" * 8_000  # a quarter of a second
BOMB = "- " * 600 + "a"  # at which the scanner of tree-sitter-yaml aborts


@pytest.fixture
def child() -> Iterator[psutil.Process]:
    """The process that cuts; a stopped one does not outlive the test."""
    symbols("def started(): pass\n")
    found = process()
    yield found
    if found.is_running():
        found.resume()


def process() -> psutil.Process:
    [found] = cutters(psutil.Process())
    return found


def cutters(*parents: psutil.Process) -> list[psutil.Process]:
    return [each for parent in parents for each in parent.children() if "rag.chunking.worker" in each.cmdline()]


def symbols(content: str) -> list[str]:
    return [piece.symbol for piece in cutting.cut("python", WINDOW, content)]


def as_text(content: str) -> list[Piece]:
    return Chunker("text", WINDOW).cut(content)


def killed_while_asked(monkeypatch: Any, child: psutil.Process, number: int) -> None:
    """It has its request, and dies of it."""
    heard = cutting.Child._heard

    def kill(self: cutting.Child, within_s: float) -> bytes | None:
        monkeypatch.undo()
        child.send_signal(number)
        return heard(self, within_s)

    child.suspend()
    monkeypatch.setattr(cutting.Child, "_heard", kill)


def test_it_works(child: psutil.Process) -> None:
    assert cutting.cut("python", WINDOW, PYTHON) == Chunker("python", WINDOW).cut(PYTHON)
    assert cutting.cut("text", WINDOW, PYTHON) == as_text(PYTHON)
    assert process() == child  # one for all files


def test_one_that_is_killed_in_the_middle(child: psutil.Process, monkeypatch: Any) -> None:
    killed_while_asked(monkeypatch, child, signal.SIGKILL)
    assert cutting.cut("python", WINDOW, PYTHON) == as_text(PYTHON)
    assert symbols(PYTHON) == ["", "greet", "Small", "Large", "Large.first", "Large.second"]
    assert process() != child


def test_one_that_dies_while_nobody_asks_costs_no_file(child: psutil.Process) -> None:
    child.kill()
    assert until(lambda: child.status() == psutil.STATUS_ZOMBIE, 10)
    assert symbols("def one(): pass\n") == ["one"]


def test_one_that_computes_for_ever(child: psutil.Process, monkeypatch: Any, caplog: Any) -> None:
    monkeypatch.setattr(cutting, "LEAST_S", 0.03)
    monkeypatch.setattr(cutting, "CHARACTERS_A_SECOND", 10**9)
    assert cutting.cut("python", WINDOW, SLOW) == as_text(SLOW)
    assert caplog.messages == [f"Cutting python ended with {-signal.SIGPROF}; the file is cut as text"]
    assert symbols("def one(): pass\n") == ["one"]


def test_one_that_waits_for_ever(child: psutil.Process, monkeypatch: Any) -> None:
    monkeypatch.setattr(cutting, "PATIENCE", 0.05)
    child.suspend()
    assert cutting.cut("python", WINDOW, PYTHON) == as_text(PYTHON)
    monkeypatch.undo()
    assert symbols("def one(): pass\n") == ["one"]
    assert not child.is_running()


def test_threads_take_turns(child: psutil.Process) -> None:
    found: dict[int, list[str]] = {}
    threads = [Thread(target=lambda n=n: found.update({n: symbols(f"def f{n}(): pass\n")})) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: [f"f{n}"] for n in range(20)}
    assert process() == child


def test_a_fork_has_one_of_its_own(child: psutil.Process) -> None:
    reader, writer = os.pipe()
    if (fork := os.fork()) == 0:
        os.write(writer, f"{symbols('def forked(): pass')} {process() == child}".encode())
        os._exit(0)
    os.waitpid(fork, 0)
    assert os.read(reader, 100) == b"['forked'] False"
    os.close(reader)
    os.close(writer)
    assert symbols("def one(): pass\n") == ["one"]


def test_it_knows_no_secrets(child: psutil.Process) -> None:
    assert Path(f"/proc/{child.pid}/environ").read_bytes() == b""


def test_it_ends_with_its_parent() -> None:
    """Even with one that has no time to say so."""
    program = (
        "from django.conf import settings; settings.configure(EMBEDDINGS_TOKENIZER='')\n"
        "from rag.chunking import pool; pool.cut('python', 60, 'x = 1'); print(flush=True); input()"
    )
    words = [sys.executable, "-c", program]
    with subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout and parent.stdout.readline()
        [orphan] = psutil.Process(parent.pid).children()
        parent.kill()
    assert until(lambda: not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE, 10)


def test_without_it_a_job_fails_and_no_file_is_cut_worse(
    child: psutil.Process, embeddings: EmbeddingsServer, alice: Any, monkeypatch: Any
) -> None:
    child.kill()
    assert until(lambda: child.status() == psutil.STATUS_ZOMBIE, 10)
    monkeypatch.setattr("rag.chunking.pool.sys.executable", "/bin/false")
    job = services.index(user=alice, repository="default", files=[source(1)])
    assert (job.status, job.error_code) == ("failed", "internal_error")
    assert not Chunk.objects.exists()


def test_a_grammar_that_aborts(child: psutil.Process) -> None:
    assert cutting.cut("yaml", WINDOW, BOMB) == as_text(BOMB)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    assert symbols("def next(): pass\n") == ["next"] and process().pid != child.pid


def test_other_files_of_a_request_are_indexed(
    child: psutil.Process, embeddings: EmbeddingsServer, alice: Any, monkeypatch: Any
) -> None:
    killed_while_asked(monkeypatch, child, signal.SIGKILL)
    job = services.index(user=alice, repository="default", files=[source(n) for n in range(3)])
    assert (job.status, job.files_done, job.skipped_files) == ("succeeded", 3, 0)
    assert sorted(Chunk.objects.values_list("symbol", flat=True)) == ["", "function_1", "function_2"]


def test_no_request_ends_a_web_process(api: Api, alice: Any) -> None:
    servers = {each.pid for each in psutil.Process().children()}
    for n in range(2):
        sent = post(api, alice, f"r{n}")
        assert (sent.status_code, sent.json()["data"]["indexed"]) == (200, 2)
    assert servers == {each.pid for each in psutil.Process().children()}
    assert Chunk.objects.filter(file__path="x.yaml", content__contains="a").count() == 2


def test_a_web_process_outlives_its_cutter(api: Api, alice: Any) -> None:
    post(api, alice, "first")
    with ThreadPoolExecutor(1) as pool:
        running = cutters(*psutil.Process().children())
        for each in running:
            each.suspend()
        sent = pool.submit(post, api, alice, "second")
        assert running and until(lambda: IndexJob.objects.filter(status="running").exists(), 10)
        for each in running:
            each.kill()
    assert (sent.result().status_code, sent.result().json()["data"]["indexed"]) == (200, 2)


def post(api: Api, user: Any, repository: str) -> Any:
    files = [{"path": "x.yaml", "content": BOMB}, {"path": "y.py", "content": "def one(): pass\n"}]
    return api.post("/rag/index", json={"files": files, "repository": repository}, headers=api.as_(user))
