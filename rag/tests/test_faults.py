"""What index jobs live through: killed processes, restarted servers. All of it is real, beat's recovery too."""

import itertools
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis

from lunaos.embedded.servers import until
from rag.tests.conftest import source
from testing.embeddings import EmbeddingsServer
from testing.stack import Stack

MANY = [source(n) for n in range(90)]
GOES_ON_WITHIN_S = 60
NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def stack_process(tmp_path_factory: pytest.TempPathFactory, embedding_server: EmbeddingsServer) -> Iterator[Stack]:
    changes = {
        "EMBEDDINGS_BASE_URL": embedding_server.base_url,
        "LUNAOS_RAG_INLINE_CHARACTERS": "500",
        "LUNAOS_RAG_WAIT_S": "0.2",
    }
    folder: Path = tmp_path_factory.mktemp("r")
    with Stack(folder, **changes) as stack:
        stack.start("indexing")
        yield stack


@pytest.fixture
def stack(stack_process: Stack, embeddings: EmbeddingsServer) -> Iterator[Stack]:
    yield stack_process
    embeddings._open.set()


@pytest.fixture
def alice(stack: Stack) -> dict[str, str]:
    """Her headers; a new one for each test."""
    return stack.sign_up(next(NUMBERS))


def submit(stack: Stack, user: dict[str, str], files: Any = MANY) -> Any:
    """Send files that are a worker's; the job."""
    body = {"files": [{"path": file.path, "content": file.content} for file in files]}
    response = stack.api.post("/rag/index", json=body, headers=user)
    assert response.status_code in (200, 202), response.text  # 200 where the worker was quick
    data = response.json()["data"]
    return {**data, "id": data.get("id") or data["jobId"]}


def ended(stack: Stack, user: dict[str, str], job: Any) -> Any:
    """The job when it has ended; asked for once, since requests are counted."""

    def has_ended() -> bool:
        return stack.sql("SELECT finished_at IS NOT NULL FROM rag_indexjob WHERE id = %s", job["id"]) == [(True,)]

    assert until(has_ended, GOES_ON_WITHIN_S)
    return stack.api.get(f"/rag/jobs/{job['id']}", headers=user).json()["data"]


def at_the_model(embeddings: EmbeddingsServer, requests: int) -> None:
    """Wait until so many requests have come."""
    assert all(embeddings.received.acquire(timeout=30) for _ in range(requests))


def whole(stack: Stack, user: dict[str, str]) -> None:
    """Each file is in the index once, with its one chunk and vector, and can be found."""
    [repository] = stack.api.get("/rag/repositories", headers=user).json()["data"]["repositories"]
    assert (repository["files"], repository["chunks"]) == (90, 90)
    pk = "(SELECT max(id) FROM rag_repository)"
    for table in ("rag_file", "rag_chunk", "rag_vector"):
        assert stack.sql(f"SELECT count(*) FROM {table} WHERE repository_id = {pk}") == [(90,)]
    of_it = f"job_id IN (SELECT id FROM rag_indexjob WHERE repository_id = {pk})"
    assert stack.sql(f"SELECT count(*) FROM rag_upload WHERE {of_it}") == [(0,)]
    found = stack.api.post("/rag/search", json={"query": "function 41"}, headers=user).json()["data"]["results"]
    assert "src/module_41.py" in [hit["path"] for hit in found]


@pytest.mark.parametrize("with_signal", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("requests", [1, 9])
def test_a_worker_that_ends(
    stack: Stack, alice: dict[str, str], embeddings: EmbeddingsServer, with_signal: signal.Signals, requests: int
) -> None:
    """Killed, or asked to stop and killed for its delay; before anything is written, or between two writes."""
    with embeddings.hold_requests(after=requests - 1):
        job = submit(stack, alice)
        at_the_model(embeddings, requests)
        stack.signal("indexing", with_signal)  # asked to stop, it would end with what it does
        stack.end("indexing")
    stack.start("indexing")  # goes on, and does not do again what was done

    done = ended(stack, alice, job)

    assert (done["status"], done["filesDone"], done["chunks"], done["errorCode"]) == ("succeeded", 90, 90, "")
    whole(stack, alice)
    assert len(embeddings.texts) <= 2 * 90 + 2 * 8 + 2  # one request is made again; and the question with its name


def restart_valkey(stack: Stack) -> None:
    stack.end("valkey")
    stack.start("valkey")


def restart_postgres(stack: Stack) -> None:
    stack.end("postgres", signal.SIGQUIT)  # as in a crash
    stack.start("postgres")


@pytest.mark.parametrize("restart", [restart_valkey, restart_postgres])
def test_a_server_that_restarts_in_the_middle(
    stack: Stack, alice: dict[str, str], embeddings: EmbeddingsServer, restart: Callable[[Stack], None]
) -> None:
    """The job finishes once, and the next one is taken."""
    with embeddings.hold_requests(after=8):
        job = submit(stack, alice)
        at_the_model(embeddings, 9)
        restart(stack)

    done = ended(stack, alice, job)

    assert (done["status"], done["filesDone"], done["chunks"]) == ("succeeded", 90, 90)
    whole(stack, alice)
    later = ended(stack, alice, submit(stack, alice, [source(n) for n in range(100, 140)]))
    assert (later["status"], later["filesDone"]) == ("succeeded", 40)


def test_a_message_that_valkey_forgets(stack: Stack, alice: dict[str, str], embeddings: EmbeddingsServer) -> None:
    """No worker has taken it yet; beat sees that somebody waits."""
    stack.end("indexing")
    job = submit(stack, alice)
    assert job["status"] == "queued"
    Redis.from_url(stack.environment["REDIS_URL"]).delete("indexing")
    stack.start("indexing")
    assert ended(stack, alice, job)["status"] == "succeeded"


def test_without_valkey_a_request_is_taken_and_done_later(
    stack: Stack, alice: dict[str, str], embeddings: EmbeddingsServer
) -> None:
    stack.end("valkey")
    try:
        job = submit(stack, alice)
        small = {"repository": "small", "files": [{"path": "a.py", "content": "x = 1\n"}]}
        response = stack.api.post("/rag/index", json=small, headers=alice)
        assert (response.status_code, response.json()["data"]["indexed"]) == (200, 1)
    finally:
        stack.start("valkey")
    assert ended(stack, alice, job)["status"] == "succeeded"


def test_a_killed_web_process_costs_a_job_nothing(
    stack: Stack, alice: dict[str, str], embeddings: EmbeddingsServer
) -> None:
    with embeddings.hold_requests(after=8):
        job = submit(stack, alice)
        at_the_model(embeddings, 9)
        stack.end("web")
    stack.start("web")
    assert ended(stack, alice, job)["filesDone"] == 90
    whole(stack, alice)


def test_a_small_request_whose_web_process_is_killed_is_done_by_a_worker(
    stack: Stack, alice: dict[str, str], embeddings: EmbeddingsServer
) -> None:
    """It was at it itself; its lock went with its connection."""
    body = {"files": [{"path": "a.py", "content": "def small(): pass\n"}]}
    with embeddings.hold_requests():
        with pytest.raises(httpx.TimeoutException):
            stack.api.post("/rag/index", json=body, headers=alice, timeout=1)
        at_the_model(embeddings, 1)
        stack.end("web")
    stack.start("web")
    [(job_id,)] = stack.sql("SELECT id FROM rag_indexjob ORDER BY created_at DESC LIMIT 1")
    assert ended(stack, alice, {"id": job_id})["status"] == "succeeded"
    assert stack.sql("SELECT attempts FROM rag_indexjob WHERE id = %s", job_id) == [(2,)]
    found = stack.api.post("/rag/search", json={"query": "small"}, headers=alice).json()["data"]["results"]
    assert [hit["path"] for hit in found] == ["a.py"]
