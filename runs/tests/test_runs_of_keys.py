"""A run knows the API key that started it; a key's usage of the month."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from apikeys import services
from apikeys.models import ApiKey
from lunaos.scopes import ALL
from runs.models import Run
from runs.tests.test_stats import add_run
from testing.client import Api, error
from testing.loopback.upstream import Upstream

EXECUTION = {"agent": "code-review", "context": "def add(a, b): return a - b"}


def execute(api: Api, headers: dict[str, str], **body: Any) -> str:
    response = api.post("/agents/execute", json={**EXECUTION, **body}, headers=headers)
    assert response.status_code == 200
    return str(response.headers["X-Run-Id"])


def data(response: httpx.Response) -> Any:
    assert response.status_code == 200
    return response.json()["data"]


def test_it_works(api: Api, alice: Any, upstream: Upstream) -> None:
    headers = api.with_key(alice)
    key = ApiKey.objects.get()
    run_id = execute(api, headers)
    expected = {"id": str(key.pk), "prefix": key.prefix}
    assert data(api.get(f"/runs/{run_id}", headers=headers))["apiKey"] == expected
    [listed] = data(api.get("/runs", headers=headers))["runs"]
    assert listed["apiKey"] == expected


def test_a_token_is_no_key(api: Api, alice: Any, upstream: Upstream) -> None:
    run_id = api.execute(alice).headers["X-Run-Id"]
    assert data(api.get(f"/runs/{run_id}", headers=api.as_(alice)))["apiKey"] is None


def test_a_chain(api: Api, alice: Any, upstream: Upstream, chains_worker: Any) -> None:
    headers = api.with_key(alice)
    body = {"steps": [{"agent": "code-review"}], "context": "x"}
    run_id = api.post("/chains/execute", json=body, headers=headers).headers["X-Run-Id"]
    assert Run.objects.get(pk=run_id).api_key_id == ApiKey.objects.get().pk


def test_it_stays_when_the_key_goes(api: Api, alice: Any, upstream: Upstream) -> None:
    run_id = execute(api, api.with_key(alice))
    key = ApiKey.objects.get()
    key.delete()
    assert data(api.get(f"/runs/{run_id}", headers=api.as_(alice)))["apiKey"]["prefix"] == key.prefix


def test_runs_of_one_key(api: Api, alice: Any, bob: Any) -> None:
    key = services.create(user=alice, name="x").key
    mine = add_run(alice, api_key_id=key.pk, api_key_prefix=key.prefix)
    add_run(alice)
    add_run(bob, api_key_id=key.pk)
    found = data(api.get("/runs", params={"apiKey": str(key.pk)}, headers=api.as_(alice)))["runs"]
    assert [run["id"] for run in found] == [str(mine.pk)]
    assert error(api.get("/runs?apiKey=lnos_live_12345678", headers=api.as_(alice))) == (400, "validation_error")


def test_the_usage_of_a_key(api: Api, alice: Any) -> None:
    key = services.create(user=alice, name="x").key
    now = datetime.now(UTC)
    month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    for cost, own_key in (("0.5", False), ("0.25", True)):
        tokens = {"input_tokens": 10, "output_tokens": 4}
        add_run(alice, now, api_key_id=key.pk, cost_usd=cost, own_key=own_key, **tokens)
    add_run(alice, now)
    add_run(alice, month - timedelta(seconds=1), api_key_id=key.pk)
    services.revoke(user=alice, key_id=key.pk)
    usage = data(api.get(f"/api-keys/{key.pk}/usage", headers=api.as_(alice)))
    assert usage.pop("period") == {
        "start": f"{month:%Y-%m-%dT%H:%M:%S}.000Z",
        "end": f"{(month + timedelta(days=32)).replace(day=1):%Y-%m-%dT%H:%M:%S}.000Z",
    }
    tokens = {"inputTokens": 20, "outputTokens": 8}
    assert usage == {"runs": 2, **tokens, "costUsd": "0.750000", "costKnown": True}


def test_a_key_that_was_not_used(api: Api, alice: Any) -> None:
    headers = api.with_key(alice, "billing:read")
    usage = data(api.get(f"/api-keys/{ApiKey.objects.get().pk}/usage", headers=headers))
    assert (usage["runs"], usage["costUsd"], usage["costKnown"]) == (0, "0.000000", True)


def test_an_unknown_price(api: Api, alice: Any) -> None:
    key = services.create(user=alice, name="x").key
    add_run(alice, datetime.now(UTC), api_key_id=key.pk, cost_known=False)
    assert data(api.get(f"/api-keys/{key.pk}/usage", headers=api.as_(alice)))["costKnown"] is False


def test_the_usage_of_another_users_key(api: Api, alice: Any, charlie: Any) -> None:
    key = services.create(user=alice, name="x").key
    for path in (key.pk, uuid.uuid4()):
        refused = api.get(f"/api-keys/{path}/usage", headers=api.with_key(charlie, *ALL))
        assert error(refused) == (404, "key_not_found")
