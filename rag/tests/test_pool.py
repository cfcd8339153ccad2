"""Tests of rag.chunking.pool: a file that breaks its grammar affects no other file."""

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
from rag.chunking import pool
from rag.chunking.chunker import Chunker, SourceChunk
from rag.models import Chunk, IndexJob
from rag.tests.conftest import source
from rag.tests.test_chunker import PYTHON
from testing.client import Api
from testing.loopback.embeddings import EmbeddingsServer
from testing.servers import ROOT

WINDOW = 60
SLOW = "(word\n" * 8_000  # a quarter of a second
BOMB = "- " * 600 + "a"  # the scanner of tree-sitter-yaml aborts at it


@pytest.fixture
def worker() -> Iterator[psutil.Process]:
    """Return the worker process; resume it after the test if it was stopped."""
    symbols("def started(): pass\n")
    found = worker_process()
    yield found
    if found.is_running():
        found.resume()


def worker_process() -> psutil.Process:
    [found] = workers(psutil.Process())
    return found


def workers(*parents: psutil.Process) -> list[psutil.Process]:
    return [each for parent in parents for each in parent.children() if "rag.chunking.worker" in each.cmdline()]


def symbols(content: str) -> list[str]:
    return [chunk.symbol for chunk in pool.chunk_file("python", WINDOW, content)]


def as_text(content: str) -> list[SourceChunk]:
    return Chunker("text", WINDOW).chunk(content)


def kill_during_request(monkeypatch: Any, worker: psutil.Process, number: int) -> None:
    """Kill the worker process after it received a request."""
    receive = pool.WorkerProcess._receive

    def kill(self: pool.WorkerProcess, within_s: float) -> bytes | None:
        monkeypatch.undo()
        worker.send_signal(number)
        return receive(self, within_s)

    worker.suspend()
    monkeypatch.setattr(pool.WorkerProcess, "_receive", kill)


def test_it_works(worker: psutil.Process) -> None:
    assert pool.chunk_file("python", WINDOW, PYTHON) == Chunker("python", WINDOW).chunk(PYTHON)
    assert pool.chunk_file("text", WINDOW, PYTHON) == as_text(PYTHON)
    assert worker_process() == worker  # one process for all files


def test_a_killed_worker_process_is_replaced(worker: psutil.Process, monkeypatch: Any) -> None:
    kill_during_request(monkeypatch, worker, signal.SIGKILL)
    assert pool.chunk_file("python", WINDOW, PYTHON) == as_text(PYTHON)
    assert symbols(PYTHON) == ["", "greet", "Small", "Large", "Large.first", "Large.second"]
    assert worker_process() != worker


def test_an_idle_worker_process_that_died_is_replaced(worker: psutil.Process) -> None:
    worker.kill()
    assert until(lambda: worker.status() == psutil.STATUS_ZOMBIE, 10)
    assert symbols("def one(): pass\n") == ["one"]


def test_an_endless_computation_is_killed(worker: psutil.Process, monkeypatch: Any, caplog: Any) -> None:
    monkeypatch.setattr(pool, "MIN_CPU_S", 0.03)
    monkeypatch.setattr(pool, "CHARACTERS_PER_CPU_S", 10**9)
    assert pool.chunk_file("python", WINDOW, SLOW) == as_text(SLOW)
    assert caplog.messages == [f"Chunking python ended with {-signal.SIGPROF}; the file is split as text"]
    assert symbols("def one(): pass\n") == ["one"]


def test_a_hanging_worker_process_is_killed(worker: psutil.Process, monkeypatch: Any) -> None:
    monkeypatch.setattr(pool, "WALL_CLOCK_FACTOR", 0.05)
    worker.suspend()
    assert pool.chunk_file("python", WINDOW, PYTHON) == as_text(PYTHON)
    monkeypatch.undo()
    assert symbols("def one(): pass\n") == ["one"]
    assert not worker.is_running()


def test_threads_take_turns(worker: psutil.Process) -> None:
    found: dict[int, list[str]] = {}
    threads = [Thread(target=lambda n=n: found.update({n: symbols(f"def f{n}(): pass\n")})) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: [f"f{n}"] for n in range(20)}
    assert worker_process() == worker


def test_a_fork_has_its_own_worker_process(worker: psutil.Process) -> None:
    reader, writer = os.pipe()
    if (fork := os.fork()) == 0:
        os.write(writer, f"{symbols('def forked(): pass')} {worker_process() == worker}".encode())
        os._exit(0)
    os.waitpid(fork, 0)
    assert os.read(reader, 100) == b"['forked'] False"
    os.close(reader)
    os.close(writer)
    assert symbols("def one(): pass\n") == ["one"]


def test_the_worker_process_has_no_environment(worker: psutil.Process) -> None:
    assert Path(f"/proc/{worker.pid}/environ").read_bytes() == b""


def test_the_worker_process_ends_with_its_parent() -> None:
    """A killed parent cannot stop its worker process itself."""
    program = (
        "from django.conf import settings; settings.configure(EMBEDDINGS_TOKENIZER='')\n"
        "from rag.chunking import pool; pool.chunk_file('python', 60, 'x = 1'); print(flush=True); input()"
    )
    words = [sys.executable, "-c", program]
    with subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout and parent.stdout.readline()
        [orphan] = psutil.Process(parent.pid).children()
        parent.kill()
    assert until(lambda: not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE, 10)


def test_without_a_worker_process_the_job_fails(
    worker: psutil.Process, embeddings: EmbeddingsServer, alice: Any, monkeypatch: Any
) -> None:
    worker.kill()
    assert until(lambda: worker.status() == psutil.STATUS_ZOMBIE, 10)
    monkeypatch.setattr("rag.chunking.pool.sys.executable", "/bin/false")
    job = services.index_files(user=alice, repository="default", files=[source(1)])
    assert (job.status, job.error_code) == ("failed", "internal_error")
    assert not Chunk.objects.exists()


def test_a_file_at_which_the_grammar_aborts_is_split_as_text(worker: psutil.Process) -> None:
    assert pool.chunk_file("yaml", WINDOW, BOMB) == as_text(BOMB)
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE
    assert symbols("def next(): pass\n") == ["next"] and worker_process().pid != worker.pid


def test_other_files_of_a_request_are_indexed(
    worker: psutil.Process, embeddings: EmbeddingsServer, alice: Any, monkeypatch: Any
) -> None:
    kill_during_request(monkeypatch, worker, signal.SIGKILL)
    job = services.index_files(user=alice, repository="default", files=[source(n) for n in range(3)])
    assert (job.status, job.files_done, job.skipped_files) == ("succeeded", 3, 0)
    assert sorted(Chunk.objects.values_list("symbol", flat=True)) == ["", "function_1", "function_2"]


def test_no_request_ends_a_web_process(api: Api, alice: Any) -> None:
    servers = {each.pid for each in psutil.Process().children()}
    for n in range(2):
        sent = post(api, alice, f"r{n}")
        assert (sent.status_code, sent.json()["data"]["indexed"]) == (200, 2)
    assert servers == {each.pid for each in psutil.Process().children()}
    assert Chunk.objects.filter(file__path="x.yaml", content__contains="a").count() == 2


def test_a_web_process_outlives_its_worker_process(api: Api, alice: Any) -> None:
    post(api, alice, "first")
    with ThreadPoolExecutor(1) as pool:
        running = workers(*psutil.Process().children())
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
