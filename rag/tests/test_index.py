"""POST /rag/index"""

from typing import Any

import pytest

from rag.models import Chunk, File, IndexJob, Repository, Upload, Vector
from testing.client import Api, error

ADD = "def add(a, b):\n    return a + b\n"
MULTIPLY = "def multiply(a, b):\n    return a * b\n"


def index(api: Api, user: Any, *files: tuple[str, str], **more: Any) -> dict[str, Any]:
    """Index files and return the answer's data."""
    body = {"files": [{"path": path, "content": content} for path, content in files], **more}
    response = api.post("/rag/index", json=body, headers=api.as_(user))
    assert response.status_code == 200, response.text
    return response.json()["data"]


def test_it_works(api: Api, alice: Any) -> None:
    answer = index(api, alice, ("src/add.py", ADD), ("src/multiply.py", MULTIPLY))

    assert {name: answer[name] for name in ("indexed", "vectors", "repository")} == {
        "indexed": 2,
        "vectors": 2,
        "repository": "default",
    }
    assert answer["message"] == "2 files indexed, 0 of them unchanged."
    chunk = Chunk.objects.get(file__path="src/add.py", file__repository__user=alice)
    assert (chunk.symbol, chunk.start_line, chunk.end_line, chunk.content) == ("add", 1, 2, ADD.rstrip())
    assert len(chunk.vector_set.get(model="all-minilm-l6-v2").embedding) == 384
    assert not Upload.objects.exists()
