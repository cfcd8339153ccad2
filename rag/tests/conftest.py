"""Fixtures: a scripted embedding model, a web process that uses it, and workers."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest

from rag.indexing.indexer import SourceFile
from testing.client import Api
from testing.loopback.embeddings import EmbeddingsServer
from testing.servers import daphne, process

StartWorker = Callable[..., AbstractContextManager["Popen[bytes]"]]
WORKER = [
    *("-m", "celery", "-A", "lunaos", "worker", "--pool", "threads", "--concurrency", "2", "--queues", "indexing"),
    *("--without-gossip", "--without-mingle"),
]


@pytest.fixture(scope="session")
def embedding_server() -> Iterator[EmbeddingsServer]:
    with EmbeddingsServer() as server:
        yield server


@pytest.fixture
def embeddings(embedding_server: EmbeddingsServer, settings: Any) -> EmbeddingsServer:
    """Return the scripted model; this process uses it too."""
    embedding_server.reset()
    settings.EMBEDDINGS_BASE_URL = embedding_server.base_url
    return embedding_server


@pytest.fixture(scope="session")
def patient_server(
    django_db_setup: None, django_db_blocker: Any, folder: Path, embedding_server: EmbeddingsServer
) -> Iterator[str]:
    """Return a web process that runs only the smallest requests inline and waits one second."""
    changes = {
        "EMBEDDINGS_BASE_URL": embedding_server.base_url,
        "LUNAOS_RAG_INLINE_CHARACTERS": "500",
        "LUNAOS_RAG_WAIT_S": "1",
        "LUNAOS_RAG_MAX_BODY_BYTES": "100000",
        "LUNAOS_RAG_BACKLOG_BYTES": "100000",
        "LUNAOS_STREAM_HEARTBEAT_S": "0.3",
    }
    with django_db_blocker.unblock(), daphne(folder / "patient.log", "/ready", **changes) as url:
        yield url


@pytest.fixture
def patient(database: None, patient_server: str, embeddings: EmbeddingsServer) -> Iterator[Api]:
    with Api(base_url=patient_server, timeout=30) as client:
        yield client


@pytest.fixture
def worker(embeddings: EmbeddingsServer, tmp_path: Path) -> StartWorker:
    """Return a function that starts a worker of the indexing queue."""
    count = iter(range(100))

    def start(**changes: str) -> AbstractContextManager["Popen[bytes]"]:
        changes = {"EMBEDDINGS_BASE_URL": embeddings.base_url, **changes}
        name = f"worker-{next(count)}"
        return process([*WORKER, "-n", f"{name}@%h"], tmp_path / f"{name}.log", **changes)

    return start


def source(n: int, lines: int = 3) -> SourceFile:
    """Return a small module with one function of unique words."""
    body = "".join(f"    step_{n}_{line} = compute({n}, {line})\n" for line in range(lines))
    return SourceFile(f"src/module_{n}.py", f"def function_{n}():\n{body}    return step_{n}_0\n")
