"""Snippets whose fence says `run` work against a real server."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from accounts.signin import jwt
from testing.client import Api
from testing.servers import ROOT

SNIPPET = re.compile(r"^```(\w+) run\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMANDS = {"bash": ["bash", "-e"], "python": [sys.executable], "ts": ["node"]}
SUFFIXES = {"bash": ".sh", "python": ".py", "ts": ".mjs"}
NEEDS_EMBEDDINGS = {"guides/code-search"}
FAILED = re.compile(r'"code": ?"[a-z_]+"')


def snippets() -> list[Any]:
    """Return each page's language with its snippets, which share one program."""
    found = []
    for path in sorted((ROOT / "docs").rglob("*.md")):
        name = path.relative_to(ROOT / "docs").with_suffix("").as_posix()
        parts: dict[str, list[str]] = {}
        for language, code in SNIPPET.findall(path.read_text()):
            parts.setdefault(language, []).append(code)
        marks = [pytest.mark.local_model] if name in NEEDS_EMBEDDINGS else []
        for language, codes in parts.items():
            found.append(pytest.param(language, "\n".join(codes), id=f"{name}-{language}", marks=marks))
    return found


def test_it_works() -> None:
    assert {each.values[0] for each in snippets()} == COMMANDS.keys()


@pytest.mark.parametrize(("language", "code"), snippets())
@pytest.mark.usefixtures("upstream", "chains_worker")
def test_a_snippet_runs(api: Api, alice: Any, tmp_path: Path, language: str, code: str) -> None:
    if shutil.which(COMMANDS[language][0]) is None:
        pytest.skip(f"{COMMANDS[language][0]} is not installed")
    code = code.replace("http://localhost:8000", str(api.base_url).rstrip("/")).replace("/tmp/headers", "headers")
    (tmp_path / f"snippet{SUFFIXES[language]}").write_text(code)
    done = subprocess.run(
        [*COMMANDS[language], f"snippet{SUFFIXES[language]}"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "TOKEN": jwt.issue(alice)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not FAILED.search(done.stdout), done.stdout
