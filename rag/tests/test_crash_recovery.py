"""Index jobs survive killed processes and restarted servers; all processes are real."""

import signal
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from redis import Redis

from lunaos.embedded.servers import until
from rag.tests.conftest import source
from testing.loopback.embeddings import EmbeddingsServer
from testing.stack import Stack, stack_fixtures

MANY = [source(n) for n in range(90)]
GOES_ON_WITHIN_S = 60


@pytest.fixture(scope="module")
def embeddings_environment(embedding_server: EmbeddingsServer) -> dict[str, str]:
    return {"EMBEDDINGS_BASE_URL": embedding_server.base_url}


stack_process, stack, alice = stack_fixtures(
    "indexing",
    variables="embeddings_environment",
    provider="embeddings",
    changes={"LUNAOS_RAG_INLINE_CHARACTERS": "500", "LUNAOS_RAG_WAIT_S": "0.2"},
)


def submit(stack: Stack, user: dict[str, str], files: Any = MANY) -> Any:
    """Send files that a worker indexes, and return the job."""
    body = {"files": [{"path": file.path, "content": file.content} for file in files]}
    response = stack.api.post("/rag/index", json=body, headers=user)
    assert response.status_code in (200, 202), response.text  # 200 if the worker was quick
    data = response.json()["data"]
    return {**data, "id": data.get("id") or data["jobId"]}


def wait_until_ended(stack: Stack, user: dict[str, str], job: Any) -> Any:
    """Wait until the job ends and return it, with one request because of rate limits."""

    def has_ended() -> bool:
        return stack.sql("SELECT finished_at IS NOT NULL FROM rag_indexjob WHERE id = %s", job["id"]) == [(True,)]

    assert until(has_ended, GOES_ON_WITHIN_S)
    return stack.api.get(f"/rag/jobs/{job['id']}", headers=user).json()["data"]


def wait_for_requests(embeddings: EmbeddingsServer, requests: int) -> None:
    """Wait until the model has received so many requests."""
    assert all(embeddings.received.acquire(timeout=30) for _ in range(requests))


def assert_indexed_once(stack: Stack, user: dict[str, str]) -> None:
    """Assert that each file is in the index once, with one chunk and vector, and is found."""
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
def test_a_job_survives_the_end_of_its_worker(
    stack: Stack, alice: dict[str, str], embeddings: EmbeddingsServer, with_signal: signal.Signals, requests: int
) -> None:
    """By SIGKILL, or by SIGTERM and SIGKILL; before the first write, or between two writes."""
    with embeddings.blocked(after=requests - 1):
        job = submit(stack, alice)
        wait_for_requests(embeddings, requests)
        stack.signal("indexing", with_signal)  # after SIGTERM it would finish its task
        stack.end("indexing")
    stack.start("indexing")  # continues with the files that are left

    done = wait_until_ended(stack, alice, job)

    assert (done["status"], done["filesDone"], done["chunks"], done["errorCode"]) == ("succeeded", 90, 90, "")
    assert_indexed_once(stack, alice)
    assert len(embeddings.texts) <= 2 * 90 + 2 * 8 + 2  # one repeated request, and the query with its identifier


def restart_valkey(stack: Stack) -> None:
    stack.end("valkey")
    stack.start("valkey")


def restart_postgres(stack: Stack) -> None:
    stack.end("postgres", signal.SIGQUIT)  # as in a crash
    stack.start("postgres")


@pytest.mark.parametrize("restart", [restart_valkey, restart_postgres])
def test_a_job_survives_a_server_restart(
    stack: Stack, alice: dict[str, str], embeddings: EmbeddingsServer, restart: Callable[[Stack], None]
) -> None:
    """The job ends once, and the next one runs too."""
    with embeddings.blocked(after=8):
        job = submit(stack, alice)
        wait_for_requests(embeddings, 9)
        restart(stack)

    done = wait_until_ended(stack, alice, job)

    assert (done["status"], done["filesDone"], done["chunks"]) == ("succeeded", 90, 90)
    assert_indexed_once(stack, alice)
    later = wait_until_ended(stack, alice, submit(stack, alice, [source(n) for n in range(100, 140)]))
    assert (later["status"], later["filesDone"]) == ("succeeded", 40)


def test_a_job_survives_a_lost_message(stack: Stack, alice: dict[str, str], embeddings: EmbeddingsServer) -> None:
    """No worker has taken the message; beat enqueues the job again."""
    stack.end("indexing")
    job = submit(stack, alice)
    assert job["status"] == "queued"
    Redis.from_url(stack.environment["REDIS_URL"]).delete("indexing")
    stack.start("indexing")
    assert wait_until_ended(stack, alice, job)["status"] == "succeeded"


def test_a_request_without_valkey_is_indexed_later(
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
    assert wait_until_ended(stack, alice, job)["status"] == "succeeded"


def test_a_job_survives_a_killed_web_process(stack: Stack, alice: dict[str, str], embeddings: EmbeddingsServer) -> None:
    with embeddings.blocked(after=8):
        job = submit(stack, alice)
        wait_for_requests(embeddings, 9)
        stack.end("web")
    stack.start("web")
    assert wait_until_ended(stack, alice, job)["filesDone"] == 90
    assert_indexed_once(stack, alice)


def test_a_worker_continues_an_inline_job_of_a_killed_web_process(
    stack: Stack, alice: dict[str, str], embeddings: EmbeddingsServer
) -> None:
    """The web process ran the job itself; its lock ended with its connection."""
    body = {"files": [{"path": "a.py", "content": "def small(): pass\n"}]}
    with embeddings.blocked():
        with pytest.raises(httpx.TimeoutException):
            stack.api.post("/rag/index", json=body, headers=alice, timeout=1)
        wait_for_requests(embeddings, 1)
        stack.end("web")
    stack.start("web")
    [(job_id,)] = stack.sql("SELECT id FROM rag_indexjob ORDER BY created_at DESC LIMIT 1")
    assert wait_until_ended(stack, alice, {"id": job_id})["status"] == "succeeded"
    assert stack.sql("SELECT attempts FROM rag_indexjob WHERE id = %s", job_id) == [(2,)]
    found = stack.api.post("/rag/search", json={"query": "small"}, headers=alice).json()["data"]["results"]
    assert [hit["path"] for hit in found] == ["a.py"]
