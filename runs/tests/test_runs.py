"""GET /runs and GET /runs/{id}"""

from typing import Any

import pytest

from testing.client import Api, error
from testing.upstream import Answer, Upstream


def test_it_works(api: Api, alice: Any, upstream: Upstream) -> None:
    run_id = api.execute(alice, context="my code").headers["X-Run-Id"]
    run = api.get(f"/runs/{run_id}", headers=api.as_(alice)).json()["data"]

    assert run["id"] == run_id
    assert (run["agent"], run["provider"], run["model"]) == ("code-review", "deepseek", "deepseek-chat")
    assert (run["status"], run["errorCode"]) == ("succeeded", "")
    assert (run["inputTokens"], run["outputTokens"]) == (11, 7)
    assert float(run["costUsd"]) > 0
    assert 0 < run["firstTokenMs"] <= run["durationMs"]
    assert run["createdAt"] < run["finishedAt"]
    assert (run["input"], run["output"]) == ("my code", "Hello world")


def test_a_failed_run_tells_why(api: Api, alice: Any, upstream: Upstream) -> None:
    upstream.plays(Answer(status=401))
    run_id = api.execute(alice).headers["X-Run-Id"]
    run = api.get(f"/runs/{run_id}", headers=api.as_(alice)).json()["data"]
    assert (run["status"], run["errorCode"], run["output"]) == ("failed", "provider_error", "")


def test_another_users_run_is_not_there(api: Api, alice: Any, charlie: Any, upstream: Upstream) -> None:
    run_id = api.execute(alice).headers["X-Run-Id"]
    assert error(api.get(f"/runs/{run_id}", headers=api.as_(charlie))) == (404, "not_found")
    assert api.get("/runs", headers=api.as_(charlie)).json()["data"] == {"runs": [], "nextCursor": None}


@pytest.mark.parametrize("path", ["/runs/00000000-0000-4000-8000-000000000000", "/runs/nonsense", "/runs/1"])
def test_unknown_runs(api: Api, alice: Any, path: str) -> None:
    assert error(api.get(path, headers=api.as_(alice))) == (404, "not_found")


def test_paging(api: Api, bob: Any, upstream: Upstream) -> None:
    made = [api.execute(bob).headers["X-Run-Id"] for _ in range(5)]
    seen, cursor = [], None
    while True:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = api.get("/runs", params=query, headers=api.as_(bob)).json()["data"]
        assert len(page["runs"]) <= 2
        seen += [run["id"] for run in page["runs"]]
        if not (cursor := page["nextCursor"]):
            break
    assert seen == made[::-1]


def test_filters(api: Api, bob: Any, upstream: Upstream) -> None:
    api.execute(bob, agent="seo")
    api.execute(bob, agent="docker")
    upstream.plays(Answer(status=401))
    api.execute(bob, agent="docker")

    def agents(**query: str) -> list[str]:
        page = api.get("/runs", params=query, headers=api.as_(bob)).json()["data"]
        return [run["agent"] for run in page["runs"]]

    assert agents(agent="docker") == ["docker", "docker"]
    assert agents(status="failed") == ["docker"]
    assert agents(agent="docker", status="succeeded") == ["docker"]
    assert agents(agent="hig") == []


@pytest.mark.parametrize(
    ("query", "field"),
    [({"status": "lost"}, "status"), ({"limit": "0"}, "limit"), ({"limit": "x"}, "limit"), ({"limit": "101"}, "limit"),
     ({"cursor": "nonsense"}, "cursor"), ({"agent": "x" * 65}, "agent"), ({"statu": "failed"}, "statu")],
)  # fmt: skip
def test_bad_queries(api: Api, alice: Any, query: dict[str, str], field: str) -> None:
    response = api.get("/runs", params=query, headers=api.as_(alice))
    assert error(response) == (400, "validation_error")
    assert [entry["field"] for entry in response.json()["fields"]] == [field]
