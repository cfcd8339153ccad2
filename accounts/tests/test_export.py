"""GET /auth/export."""

import asyncio
import json
import uuid
from typing import Any

import pytest

from accounts.auditlog.trail import Action
from accounts.models import AuditEvent
from accounts.privacy import registry
from apikeys.models import ApiKey
from lunaos.api.streaming import download
from lunaos.scopes import ALL
from rag.models import Chunk, File, Repository
from runs.models import Run
from testing.client import PASSWORD, Api, error
from testing.loopback.upstream import Answer, Upstream
from testing.windows import address_with_time_left


def export(api: Api, user: Any) -> dict[str, Any]:
    response = api.get("/auth/export", headers=api.as_(user))
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Content-Disposition"] == 'attachment; filename="lunaos-export.json"'
    return dict(json.loads(response.text)["data"])


def add_file(user: Any, path: str, *contents: str) -> Repository:
    """As indexing leaves it, but for the vectors."""
    repository, _ = Repository.objects.get_or_create(user=user, name="mine", model="m")
    file = File.objects.create(repository=repository, path=path, digest="d", language="python", chunks=len(contents))
    place = {"symbol": "", "signature": "", "start_line": 1, "end_line": 2, "terms": ""}
    for position, content in enumerate(contents):
        Chunk.objects.create(repository=repository, file=file, position=position, content=content, **place)
    return repository


def test_it_works(api: Api, alice: Any, upstream: Upstream) -> None:
    api.post("/auth/login", json={"email": alice.email, "password": PASSWORD})
    api.execute(alice, context="my own text")
    add_file(alice, "a.py", "first piece", "second piece")
    key = api.with_key(alice)["Authorization"].removeprefix("Bearer ")
    api.put("/providers/openai/key", json={"key": "sk-of-alice-1234567890wxyz"}, headers=api.as_(alice))
    data = export(api, alice)

    assert set(data) >= {"account", "addresses", "activity", "repositories", "files", "indexJobs", "runs", "usage"}
    assert data["account"]["email"] == alice.email
    assert "password" not in data["account"]
    assert [entry["address"] for entry in data["addresses"]] == ["127.0.0.1"]
    (run,) = data["runs"]
    assert (run["input"], run["output"]) == ("my own text", "Hello world")
    assert (run["events"][0]["type"], run["events"][-1]["type"]) == ("start", "done")
    assert (run["error"], run["lastAttempt"], run["costKnown"]) == ("", None, True)
    assert [file["path"] for file in data["files"]] == ["a.py"]
    assert [chunk["content"] for chunk in data["files"][0]["chunks"]] == ["first piece", "second piece"]
    assert data["usage"][0]["executions"] == 1
    assert data["apiKeys"][0]["prefix"] == key[:18]
    assert [(each["provider"], each["lastFour"]) for each in data["providerKeys"]] == [("openai", "wxyz")]
    assert "sealed" not in data["providerKeys"][0]
    assert not {key, ApiKey.objects.get(user=alice).digest} & set(json.dumps(data).split('"'))
    assert Action.LOGGED_IN in [event["action"] for event in data["activity"]]


def test_why_a_run_failed(api: Api, alice: Any, upstream: Upstream) -> None:
    """A provider's words for the owner of the key only: the server's account is not the user's."""
    said = b'{"error": {"message": "Not so."}}'
    upstream.respond_with(Answer(status=400, body=said, headers={"Content-Type": "application/json"}))
    on_servers_key = api.execute(alice).json()["error"]
    api.put("/providers/openai/key", json={"key": "sk-of-alice-1234567890wxyz"}, headers=api.as_(alice))
    on_own_key = api.execute(alice, provider="openai").json()["error"]
    runs = {run["provider"]: run for run in export(api, alice)["runs"]}
    assert (runs["deepseek"]["error"], runs["openai"]["error"]) == (on_servers_key, on_own_key)
    assert {run["providerStatus"] for run in runs.values()} == {400}
    assert runs["deepseek"]["lastAttempt"]["status"] == 400 and runs["deepseek"]["lastAttempt"]["said"] == ""
    assert "Not so." in runs["openai"]["lastAttempt"]["said"]
    assert "Not so." not in json.dumps(runs["deepseek"])


def test_steps_of_chains(api: Api, alice: Any, upstream: Upstream, chains_worker: Any) -> None:
    api.execute_chain(alice, "code-review", "documentation")
    (run,) = export(api, alice)["runs"]
    assert [step["agent"] for step in run["stepsDone"]] == ["code-review", "documentation"]
    assert {step["output"] for step in run["stepsDone"]} == {"Hello world"}


def test_it_has_no_data_of_other_users(api: Api, alice: Any, charlie: Any, upstream: Upstream) -> None:
    api.execute(alice)
    add_file(alice, "a.py", "piece")
    data = export(api, charlie)
    assert data["runs"] == data["repositories"] == data["files"] == data["usage"] == []
    assert alice.email not in json.dumps(data) and str(alice.pk) not in json.dumps(data)


def test_more_than_a_page_of_everything(api: Api, alice: Any, upstream: Upstream) -> None:
    for n in range(45):
        add_file(alice, f"{n}.py", "piece")
    api.execute(alice)
    run = Run.objects.values().get()
    Run.objects.bulk_create(Run(**{**run, "id": uuid.uuid4()}) for _ in range(registry.PAGE_ROWS + 20))
    data = export(api, alice)
    assert len({run["id"] for run in data["runs"]}) == registry.PAGE_ROWS + 21
    assert len({file["path"] for file in data["files"]}) == 45


def test_it_is_read_as_it_is_sent(alice: Any) -> None:
    """Pieces of a bounded size, each made when it is asked for."""
    for n in range(40):
        add_file(alice, f"{n}.py", "x" * 50_000)
    sections = iter([("files", dict(registry.export(alice))["files"])])
    pieces = list(download._pieces(sections))
    assert len(pieces) > 20
    assert max(map(len, pieces)) < download.MAX_PIECE_BYTES + 60_000
    assert len(json.loads(b"".join(pieces))["data"]["files"]) == 40


def test_it_is_audited(api: Api, alice: Any) -> None:
    export(api, alice)
    assert AuditEvent.objects.filter(action=Action.EXPORTED, subject_id=alice.pk).count() == 1


def test_ten_in_five_minutes(api: Api, alice: Any) -> None:
    with api.from_address(address_with_time_left(300)) as client:
        statuses = [client.get("/auth/export", headers=client.as_(alice)).status_code for _ in range(11)]
    assert statuses == [200] * 10 + [429]


def test_an_api_key_cannot_export_its_owner(api: Api, alice: Any) -> None:
    assert error(api.get("/auth/export", headers=api.with_key(alice, *ALL))) == (403, "scope_missing")


def test_a_user_cannot_export_another(api: Api, database: None) -> None:
    assert error(api.get("/auth/export")) == (401, "not_authenticated")


def test_an_interrupted_document_is_not_json(database: None) -> None:
    def sections() -> Any:
        yield "whole", [{"n": 1}] * 20_000
        raise RuntimeError("the database is gone")

    async def read() -> bytes:
        return b"".join([piece async for piece in download._body(sections())])

    body = asyncio.run(read())
    assert body.startswith(b'{"data":{"whole":[{"n":1},')
    with pytest.raises(json.JSONDecodeError):
        json.loads(body)
