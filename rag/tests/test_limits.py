"""The contract's limits over HTTP: 100 files of 500 000 characters in one request."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from rag.indexing import jobs, skip_rules
from rag.models import IndexJob, Upload
from rag.tests.test_index import fields
from testing.client import Api, error
from testing.servers import daphne

LINE = 'def add(first, second):\n\treturn "sum", first + second\n'
LONGEST = (LINE * (skip_rules.MAX_CHARACTERS // len(LINE) + 1))[: skip_rules.MAX_CHARACTERS]


@pytest.fixture(scope="module")
def hurried_server(django_db_setup: None, django_db_blocker: Any, folder: Path) -> Iterator[str]:
    """Return a web process with the default limits that does not wait for a worker."""
    with django_db_blocker.unblock(), daphne(folder / "hurried.log", "/ready", LUNAOS_RAG_WAIT_S="0.1") as url:
        yield url


@pytest.fixture
def hurried(database: None, hurried_server: str) -> Iterator[Api]:
    with Api(base_url=hurried_server, timeout=120) as client:
        yield client


def post(api: Api, user: Any, *contents: str) -> Any:
    body = orjson.dumps({"files": [{"path": f"{n}.py", "content": text} for n, text in enumerate(contents)]})
    return api.post("/rag/index", content=body, headers={**api.as_(user), "Content-Type": "application/json"})


def test_the_largest_allowed_request_is_accepted(hurried: Api, alice: Any) -> None:
    """50 million characters, stored unchanged for the worker."""
    response = post(hurried, alice, *[LONGEST] * 100)

    assert response.status_code == 202, response.text
    job = IndexJob.objects.get(pk=response.json()["data"]["id"])
    assert job.files == 100
    kept = jobs.read_uploads(job)
    assert next(kept).content == LONGEST
    assert Upload.objects.filter(job=job).extra(where=["length(content) = 500000"]).count() == 100


def test_one_character_too_many_is_refused(hurried: Api, alice: Any) -> None:
    assert fields(post(hurried, alice, *[LONGEST] * 3, LONGEST + "x")) == [("files.3.content", "max_length")]
    assert not IndexJob.objects.exists()


def test_characters_are_counted_not_bytes(hurried: Api, alice: Any) -> None:
    assert post(hurried, alice, "é日本 x\n" * (skip_rules.MAX_CHARACTERS // 6)).status_code == 202
    assert fields(post(hurried, alice, "é" * (skip_rules.MAX_CHARACTERS + 1))) == [("files.0.content", "max_length")]


def test_other_routes_keep_their_limit(hurried: Api, alice: Any, settings: Any) -> None:
    body = orjson.dumps({"query": "x" * settings.MAX_BODY_BYTES})
    headers = {**hurried.as_(alice), "Content-Type": "application/json"}
    assert error(hurried.post("/rag/search", content=body, headers=headers)) == (413, "payload_too_large")


def test_a_request_beyond_its_own_limit(hurried: Api, alice: Any, settings: Any) -> None:
    body = b'{"files": [], "more": "' + b"x" * settings.RAG_MAX_BODY_BYTES + b'"}'
    headers = {**hurried.as_(alice), "Content-Type": "application/json"}
    assert error(hurried.post("/rag/index", content=body, headers=headers)) == (413, "payload_too_large")


@pytest.mark.parametrize("field", ["path", "content"])
@pytest.mark.parametrize("value", [None, 1, ["x"], {"x": 1}, True])
def test_values_that_are_no_strings_are_refused(hurried: Api, alice: Any, field: str, value: object) -> None:
    file = {"path": "a.py", "content": "x = 1\n", field: value}
    response = hurried.post("/rag/index", json={"files": [file]}, headers=hurried.as_(alice))
    assert [name for name, _ in fields(response)] == [f"files.0.{field}"]


@pytest.mark.parametrize("files", [None, "a.py", {"path": "a.py"}, [1], [None], [[]]])
def test_values_that_are_no_list_of_files_are_refused(hurried: Api, alice: Any, files: object) -> None:
    response = hurried.post("/rag/index", json={"files": files}, headers=hurried.as_(alice))
    assert all(name.startswith("files") for name, _ in fields(response))


@pytest.mark.parametrize("name", [1, ["x"]])
def test_values_that_are_no_name_are_refused(hurried: Api, alice: Any, name: object) -> None:
    body = {"files": [{"path": "a.py", "content": ""}], "repository": name}
    response = hurried.post("/rag/index", json=body, headers=hurried.as_(alice))
    assert [field for field, _ in fields(response)] == ["repository"]
