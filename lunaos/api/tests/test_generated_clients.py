"""Linters of OpenAPI accept our document, and clients that are generated from it work."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from httpx_sse import connect_sse

from testing import node
from testing.client import Api
from testing.loopback.upstream import Answer, Upstream, completion

pytestmark = pytest.mark.clients

GENERATORS = Path(__file__).parent / "generators"
BODY = {"agent": "code-review", "context": "def add(a, b): return a - b"}
MAX_RUN_S = 300


def run(*command: str | Path, cwd: Path) -> str:
    # The generator formats what it writes with ruff, which it looks up.
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=MAX_RUN_S,
    )
    assert done.returncode == 0, done.stdout[-5_000:] + done.stderr[-5_000:]
    return done.stdout


@pytest.fixture(scope="module")
def packages() -> Path:
    return node.install(GENERATORS / "package.json")


@pytest.fixture
def document(api: Api, tmp_path: Path) -> Path:
    file = tmp_path / "openapi.json"
    file.write_text(api.get("/openapi.json").text)
    return file


def test_redocly_finds_no_error(packages: Path, document: Path) -> None:
    run(packages / ".bin" / "redocly", "lint", document, cwd=document.parent)


def test_spectral_finds_no_error(packages: Path, document: Path) -> None:
    rules = ("--ruleset", GENERATORS / "spectral.yaml", "--fail-severity", "warn")
    run(packages / ".bin" / "spectral", "lint", *rules, document, cwd=document.parent)


@pytest.fixture
def python_client(document: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Generate a Python client, as the package `lunaos_client`."""
    folder = document.parent / "lunaos_client"
    generator = Path(sys.executable).with_name("openapi-python-client")
    words = ("--path", document, "--output-path", folder, "--meta", "none", "--fail-on-warning")
    run(generator, "generate", *words, cwd=document.parent)
    monkeypatch.syspath_prepend(document.parent)
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "lunaos_client"]:
        del sys.modules[name]


def test_a_generated_python_client_has_sound_types(python_client: Path) -> None:
    run(sys.executable, "-m", "mypy", "--config-file", GENERATORS / "mypy.ini", python_client, cwd=python_client.parent)


def call(module: str, client: Any, *arguments: Any, **members: Any) -> Any:
    return importlib.import_module(f"lunaos_client.api.{module}").sync(*arguments, client=client, **members)


def model(kind: str, **members: Any) -> Any:
    return importlib.import_module("lunaos_client.models").__dict__[kind].from_dict(members)


@pytest.fixture
def client(python_client: Path, api: Api, bob: Any) -> Any:
    """Return a generated client that is signed in."""
    token = api.as_(bob)["Authorization"].removeprefix("Bearer ")
    made = importlib.import_module("lunaos_client").AuthenticatedClient
    return made(base_url=str(api.base_url), token=token)


def test_calls_of_a_generated_python_client(client: Any, upstream: Upstream, chains_worker: Any) -> None:
    upstream.respond_with(*[completion("It subtracts.")] * 3)
    ran = call("agents.execute_agent", client, body=model("ExecuteRequest", **BODY, stream=False)).data
    assert (ran.output, ran.finish_reason, ran.tokens.estimated) == ("It subtracts.", "stop", False)

    steps = ["code-review", "documentation"]
    chain = model("ExecuteChainRequest", steps=steps, context="x", stream=False)
    assert [step.agent for step in call("chains.execute_chain", client, body=chain).data.steps] == steps

    runs = call("runs.list_runs", client).data.runs
    assert [each.status for each in runs] == ["succeeded", "succeeded"]
    assert call("runs.get_run", client, runs[-1].id).data.output == "It subtracts."
    assert call("auth.get_me", client).data.tier == "pro"
    key = call("api_keys.create_key", client, body=model("NewKeyRequest", name="CI")).data
    assert key.key.startswith("lnos_live_")

    unknown = call("agents.execute_agent", client, body=model("ExecuteRequest", agent="nonsense", context="x"))
    assert unknown.code == "unknown_agent" and "code-review" in unknown.available


def test_a_generated_python_client_streams_with_its_own_http_client(client: Any, upstream: Upstream) -> None:
    upstream.respond_with(completion("It subtracts."))
    with connect_sse(client.get_httpx_client(), "POST", "/agents/execute", json=BODY) as source:
        received = [event.json() for event in source.iter_sse()]
    assert [event["type"] for event in received] == ["start", "chunk", "done"]


def test_a_generated_typescript_client(
    packages: Path, document: Path, api: Api, alice: Any, upstream: Upstream
) -> None:
    folder = document.parent
    for name in ("smallest.ts", "tsconfig.json"):
        shutil.copy(GENERATORS / name, folder)
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "node_modules").symlink_to(packages)
    run(packages / ".bin" / "openapi-typescript", document, "--output", folder / "schema.d.ts", cwd=folder)
    run(packages / ".bin" / "tsc", cwd=folder)

    upstream.respond_with(Answer(pieces=completion("It subtracts.").pieces))
    printed = run("node", "out/smallest.js", str(api.base_url), api.as_(alice)["Authorization"], cwd=folder)
    answered, refused = map(json.loads, printed.splitlines())
    assert answered == {"output": "It subtracts.", "finishReason": "stop"}
    assert refused == {"code": "unknown_agent"}
