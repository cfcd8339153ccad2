"""POST /rag/index."""

import json
from typing import Any

import pytest

from rag import services
from rag.chunking import chunker
from rag.errors import EmbeddingsNotConfigured
from rag.indexing import indexer, skip_rules
from rag.indexing.indexer import SourceFile
from rag.models import Chunk, File, IndexJob, Repository, Upload, Vector
from rag.tests.conftest import source
from testing.client import Api, error
from testing.loopback.embeddings import EmbeddingsServer

ADD = "def add(a, b):\n    return a + b\n"
MULTIPLY = "def multiply(a, b):\n    return a * b\n"


def send(api: Api, user: Any, *files: tuple[str, str], **more: Any) -> Any:
    body = {"files": [{"path": path, "content": content} for path, content in files], **more}
    return api.post("/rag/index", json=body, headers=api.as_(user))


def index(api: Api, user: Any, *files: tuple[str, str], **more: Any) -> dict[str, Any]:
    """Index files and return the answer's data."""
    response = send(api, user, *files, **more)
    assert response.status_code == 200, response.text
    data: dict[str, Any] = response.json()["data"]
    return data


def fields(response: Any) -> list[tuple[str, str]]:
    assert error(response) == (400, "validation_error")
    return [(each["field"], each["code"]) for each in response.json()["fields"]]


def test_it_works(api: Api, alice: Any) -> None:
    answer = index(api, alice, ("src/add.py", ADD), ("src/multiply.py", MULTIPLY))

    assert (answer["indexed"], answer["vectors"], answer["repository"]) == (2, 2, "default")
    assert answer["message"] == "2 files indexed, 0 of them unchanged."
    chunk = Chunk.objects.get(file__path="src/add.py", file__repository__user=alice)
    assert (chunk.symbol, chunk.start_line, chunk.end_line, chunk.content) == ("add", 1, 2, ADD.rstrip())
    assert len(chunk.vector_set.get(model="all-minilm-l6-v2").embedding) == 384
    assert not Upload.objects.exists()


# -- Incremental and atomic --------------------------------------------------------------------------------------------


def test_unchanged_files_cost_nothing(patient: Api, alice: Any, embeddings: EmbeddingsServer) -> None:
    index(patient, alice, ("add.py", ADD), ("multiply.py", MULTIPLY))
    before = set(Chunk.objects.values_list("pk", flat=True))
    embeddings.reset()

    answer = index(patient, alice, ("add.py", ADD), ("multiply.py", MULTIPLY))

    assert (answer["indexed"], answer["unchanged"], answer["vectors"]) == (2, 2, 2)
    assert embeddings.requests == []
    assert set(Chunk.objects.values_list("pk", flat=True)) == before


def test_a_changed_file_replaces_the_old_one(patient: Api, alice: Any, embeddings: EmbeddingsServer) -> None:
    index(patient, alice, ("a.py", f"{ADD}\n{MULTIPLY}"), ("b.py", ADD))
    embeddings.reset()

    answer = index(patient, alice, ("a.py", MULTIPLY), ("b.py", ADD))

    assert (answer["indexed"], answer["unchanged"], answer["vectors"]) == (2, 1, 2)
    assert not any("add" in text for text in embeddings.texts)
    assert list(Chunk.objects.filter(file__path="a.py").values_list("symbol", flat=True)) == ["multiply"]
    assert Vector.objects.count() == Chunk.objects.count() == 2


def test_a_file_is_replaced_completely_or_not_at_all(
    embeddings: EmbeddingsServer, alice: Any, monkeypatch: Any
) -> None:
    services.index_files(user=alice, repository="default", files=[SourceFile("a.py", f"{ADD}\n{MULTIPLY}")])
    monkeypatch.setattr("rag.indexing.store.INSERT_CHUNKS", "SELECT 1 / 0")

    job = services.index_files(user=alice, repository="default", files=[SourceFile("a.py", "def new(): pass\n")])

    assert (job.status, job.error_code) == ("failed", "internal_error")
    assert set(Chunk.objects.values_list("symbol", flat=True)) == {"add", "multiply"}
    monkeypatch.undo()
    services.index_files(user=alice, repository="default", files=[SourceFile("a.py", "def new(): pass\n")])
    assert set(Chunk.objects.values_list("symbol", flat=True)) == {"new"}


def test_an_emptied_file_is_not_found(api: Api, alice: Any) -> None:
    index(api, alice, ("a.py", ADD))
    answer = index(api, alice, ("a.py", ""))
    assert (answer["indexed"], answer["vectors"]) == (1, 0)
    assert not Chunk.objects.exists() and not Vector.objects.exists()


def test_a_raised_chunking_version_indexes_files_again(
    embeddings: EmbeddingsServer, alice: Any, monkeypatch: Any
) -> None:
    services.index_files(user=alice, repository="default", files=[SourceFile("a.py", ADD)])
    monkeypatch.setattr("rag.indexing.indexer.CHUNKING_VERSION", 10_000)
    assert services.index_files(user=alice, repository="default", files=[SourceFile("a.py", ADD)]).unchanged == 0


def test_many_files_share_a_request_to_the_model(embeddings: EmbeddingsServer, alice: Any) -> None:
    job = services.index_files(user=alice, repository="default", files=[source(n) for n in range(60)])
    assert (job.status, job.chunks) == ("succeeded", 60)
    assert len(embeddings.requests) == 8
    assert len(embeddings.texts) == 2 * 60  # each chunk's code and description


# -- Skipped files -----------------------------------------------------------------------------------------------------


def test_files_that_are_no_code_are_skipped_with_a_reason(api: Api, alice: Any) -> None:
    answer = index(
        api,
        alice,
        ("add.py", ADD),
        ("nul.py", "x = 1\0\n"),
        ("app.min.js", "var a=1;"),
        ("a_pb2.py", "# Generated by the protocol buffer compiler.  DO NOT EDIT!\nx = 1\n"),
    )
    assert answer["indexed"] == 1
    assert answer["message"] == "1 files indexed, 0 of them unchanged, 3 skipped."
    assert answer["skipped"] == [
        {"path": "nul.py", "reason": "binary"},
        {"path": "app.min.js", "reason": "minified"},
        {"path": "a_pb2.py", "reason": "generated"},
    ]


def test_a_file_that_became_binary_is_not_found(api: Api, alice: Any) -> None:
    index(api, alice, ("a.py", ADD))
    index(api, alice, ("a.py", "\0"))
    assert not Chunk.objects.exists()
    assert not File.objects.exists()


def test_hostile_content_is_stored_unchanged(api: Api, alice: Any) -> None:
    content = 'def f():\n    return "\'; DROP TABLE rag_chunk; -- %s {} \\\\ $$ \u202e \x1b[31m \ufffd"\n'
    index(api, alice, ('it\'s %s "quoted"; DROP TABLE rag_file;--.py', content))
    chunk = Chunk.objects.get(file__repository__user=alice)
    assert chunk.content == content.rstrip("\n")
    assert chunk.file.path == 'it\'s %s "quoted"; DROP TABLE rag_file;--.py'


@pytest.mark.parametrize(
    "content",
    [
        f"blob = '{'A' * 4_000}'\n" + "x = 1\n" * 20,
        f"blob = '{'é' * 4_000}'\n" + "x = 1\n" * 20,
        "名前 = '日本語の長い文章です' * 9\n" * 200,
        "(" * 4_000 + "\nx = 1\n" * 20,
        "\t" * 15_000 + "x = 1",
        "if x:\n" + "".join(" " * n + "if x:\n" for n in range(1, 150)),
        "\U0001f600 smile\n" * 1_000,
        "a\r\nb\x0cc\u2028d = 1\n" * 500,
    ],
)
def test_strange_content_is_indexed_by_the_real_model(api: Api, alice: Any, content: str) -> None:
    answer = index(api, alice, ("strange.py", content))
    assert answer["indexed"] == 1
    assert answer["vectors"] == Chunk.objects.filter(file__repository__user=alice).count() > 0


def test_broken_utf8_is_refused(api: Api, alice: Any) -> None:
    headers = {**api.as_(alice), "Content-Type": "application/json"}
    body = b'{"files": [{"path": "a.py", "content": "caf\xe9"}]}'
    assert error(api.post("/rag/index", content=body, headers=headers)) == (400, "malformed_json")
    body = b'{"files": [{"path": "a.py", "content": "\\ud800"}]}'
    assert error(api.post("/rag/index", content=body, headers=headers)) == (400, "malformed_json")


# -- Limits ------------------------------------------------------------------------------------------------------------


def test_a_hundred_files_and_no_more(patient: Api, api: Api, alice: Any, embeddings: EmbeddingsServer) -> None:
    files = [(f"{n}.txt", "") for n in range(101)]
    assert index(api, alice, *files[:100])["indexed"] == 100
    assert fields(send(api, alice, *files)) == [("files", "max_length")]
    assert fields(send(api, alice)) == [("files", "min_length")]


def test_half_a_million_characters_and_no_more(api: Api, alice: Any) -> None:
    line = "# a comment of a file that is long\n"
    longest = (line * (skip_rules.MAX_CHARACTERS // len(line) + 1))[: skip_rules.MAX_CHARACTERS]
    assert send(api, alice, ("a.csv", longest[:100]), ("b.csv", "")).status_code == 200
    assert fields(send(api, alice, ("a.csv", longest + "x"))) == [("files.0.content", "max_length")]
    assert chunker.Chunker("text", 400).chunk(longest)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("", "blank"),
        ("p" * 513, "max_length"),
    ],
)
def test_paths_that_are_missing_or_too_long_are_refused(api: Api, alice: Any, path: str, code: str) -> None:
    assert fields(send(api, alice, ("ok.py", ADD), (path, ADD))) == [("files.1.path", code)]
    assert not File.objects.exists()


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("../up.py", "../up.py"),
        ("/etc/passwd", "/etc/passwd"),
        ("a\0b", "a\\x00b"),
        ("a\nb", "a\\nb"),
        ("a\u2028b", "a\\u2028b"),
    ],
)
def test_another_bad_path_costs_its_file_alone(api: Api, alice: Any, path: str, shown: str) -> None:
    data = send(api, alice, ("ok.py", ADD), (path, MULTIPLY)).json()["data"]
    assert data["skipped"] == [{"path": shown, "reason": "bad_path"}]
    assert [file.path for file in File.objects.all()] == ["ok.py"]


def test_format_characters_in_paths_are_kept(api: Api, alice: Any) -> None:
    path = "src/\N{ZERO WIDTH JOINER}\N{RIGHT-TO-LEFT OVERRIDE}a.py"
    send(api, alice, (path, ADD))
    assert File.objects.get().path == path


def test_a_notebooks_cells_are_found_by_their_numbers(api: Api, alice: Any) -> None:
    cells = [{"cell_type": "markdown", "source": "# Churn"}, {"cell_type": "code", "source": ADD, "outputs": []}]
    send(api, alice, ("nb.ipynb", json.dumps({"cells": cells, "metadata": {}})))
    assert {(chunk.file.path, chunk.symbol) for chunk in Chunk.objects.all()} == {
        *(("nb.ipynb", "Cell 1"), ("nb.ipynb", "Cell 2")),
    }


def test_secrets_are_not_indexed_and_leave_the_index(api: Api, alice: Any) -> None:
    send(api, alice, ("config.py", ADD))
    key = "-----BEGIN PRIVATE KEY-----\n" + "TUlJRXBBSUJBQUtDQVFFQTd2" * 3 + "\n-----END PRIVATE KEY-----\n"
    data = send(api, alice, (".env", "TOKEN=x"), ("config.py", key), force=True).json()["data"]
    assert {each["path"]: each["reason"] for each in data["skipped"]} == {".env": "secret", "config.py": "secret"}
    assert not File.objects.exists()


def test_force_indexes_what_looks_generated_and_nothing_else(api: Api, alice: Any) -> None:
    files = [("api_pb2.py", ADD), ("a.min.js", MULTIPLY), ("b.png", "\0")]
    assert [each["reason"] for each in send(api, alice, *files).json()["data"]["skipped"]] == [
        *("generated", "minified", "binary")
    ]
    assert [each["reason"] for each in send(api, alice, *files, force=True).json()["data"]["skipped"]] == ["binary"]
    assert {file.path for file in File.objects.all()} == {"api_pb2.py", "a.min.js"}


def test_a_duplicate_path_is_refused(api: Api, alice: Any) -> None:
    assert fields(send(api, alice, ("a.py", ADD), ("./a.py", MULTIPLY))) == [("files.1.path", "unique")]


@pytest.mark.parametrize("name", ["", "..", "a//b", "n" * 257, "a\0b"])
def test_invalid_names_are_refused(api: Api, alice: Any, name: str) -> None:
    [(field, _)] = fields(send(api, alice, ("a.py", ADD), repository=name))
    assert field == "repository"


def test_a_body_that_is_too_large(patient: Api, alice: Any) -> None:
    assert error(send(patient, alice, ("a.py", "x" * 100_001))) == (413, "payload_too_large")


def test_a_body_larger_than_other_requests_may_be(api: Api, alice: Any, settings: Any) -> None:
    filler = "\0" * (settings.MAX_BODY_BYTES // 12)  # six characters each in JSON; skipped as binary
    answer = index(api, alice, *((f"{n}.bin", filler) for n in range(3)))
    assert (answer["indexed"], len(answer["skipped"])) == (0, 3)


def test_without_credentials(api: Api) -> None:
    assert error(api.post("/rag/index", json={"files": []})) == (401, "not_authenticated")


# -- The model ---------------------------------------------------------------------------------------------------------


def test_an_overloaded_model_fails_the_job(
    patient: Api, alice: Any, embeddings: EmbeddingsServer, monkeypatch: Any
) -> None:
    monkeypatch.setattr("rag.indexing.runner.REQUEST_RETRIES", 0)
    embeddings.respond_with(400)
    assert error(send(patient, alice, ("a.py", ADD))) == (502, "embeddings_error")
    embeddings.respond_with(503)
    job = services.index_files(user=alice, repository="default", files=[SourceFile("a.py", ADD)])
    assert (job.status, job.error_code) == ("failed", "embeddings_unavailable")
    assert not Chunk.objects.exists() and not Upload.objects.exists()


def test_an_overloaded_model_sets_retry_after(patient: Api, alice: Any, embeddings: EmbeddingsServer) -> None:
    embeddings.respond_with(503)
    response = send(patient, alice, ("a.py", ADD))
    assert error(response) == (503, "embeddings_unavailable")
    assert response.headers["Retry-After"] == "5"
    embeddings.respond_with(400)
    assert "Retry-After" not in send(patient, alice, ("a.py", ADD)).headers


def test_an_unreachable_model_fails_the_job(alice: Any, settings: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("rag.indexing.runner.REQUEST_RETRIES", 0)
    settings.EMBEDDINGS_BASE_URL = "http://127.0.0.1:9/v1"
    job = services.index_files(user=alice, repository="default", files=[SourceFile("a.py", ADD)])
    assert (job.status, job.error_code) == ("failed", "embeddings_unavailable")


@pytest.mark.parametrize(
    "body",
    [
        b"no json",
        b'{"data": []}',
        b'{"data": [{"index": 0, "embedding": [1.0, 2.0]}, {"index": 1, "embedding": [1.0, 2.0]}]}',
    ],
)
def test_an_invalid_model_response_fails_the_job(embeddings: EmbeddingsServer, alice: Any, body: bytes) -> None:
    embeddings.respond_with(200, body)
    job = services.index_files(user=alice, repository="default", files=[SourceFile("a.py", ADD)])
    assert (job.status, job.error_code) == ("failed", "embeddings_error")


def test_without_a_model_nothing_is_written(alice: Any, settings: Any) -> None:
    settings.EMBEDDINGS_BASE_URL = ""
    with pytest.raises(EmbeddingsNotConfigured):
        services.index_files(user=alice, repository="default", files=[SourceFile("a.py", ADD)])
    assert not IndexJob.objects.exists() and not Repository.objects.exists()


def test_a_long_query_is_truncated(embeddings: EmbeddingsServer, alice: Any, settings: Any) -> None:
    services.search_code(user=alice, repository="default", query="x", limit=1)
    services.index_files(user=alice, repository="default", files=[SourceFile("a.py", ADD)])
    services.search_code(user=alice, repository="default", query="password " * 2_000, limit=1)
    assert len(embeddings.texts[-1].split()) <= settings.EMBEDDINGS_WINDOW


@pytest.mark.local_model
def test_the_model_reads_the_beginning_of_code_and_all_of_prose(embeddings: EmbeddingsServer, alice: Any) -> None:
    code = "def total(order):\n" + "    order.add(order.tax)\n" * 40
    prose = "# Taxes\n\n" + "Each order pays its own tax.\n" * 40

    services.index_files(
        user=alice, repository="default", files=[SourceFile("total.py", code), SourceFile("taxes.md", prose)]
    )

    assert code[: indexer.MAX_CODE_CHARACTERS] in embeddings.texts
    assert prose.rstrip() in embeddings.texts
    assert Chunk.objects.get(file__path="total.py", file__repository__user=alice).content == code.rstrip()
