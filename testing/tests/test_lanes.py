"""Marks of tests by what they use, and tests of the embedded model without it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from testing import lanes, servers
from testing.loopback.upstream import Upstream
from testing.stack import Stack


def by_a_helper() -> None:
    by_subprocess()


def by_subprocess() -> None:
    subprocess.run([sys.executable, "--version"], check=True)


def in_a_nested_function() -> Callable[[], Any]:
    return lambda: subprocess.run([sys.executable, "--version"])


def by_a_server(folder: Path) -> None:
    with servers.daphne(folder / "web.log"):
        pass


def by_a_stack(folder: Path) -> None:
    with Stack(folder):
        pass


def in_this_process() -> int:
    return len(sys.argv)


@pytest.mark.parametrize("function", [by_subprocess, by_a_helper, in_a_nested_function, by_a_server, by_a_stack])
def test_it_works(function: Callable[..., Any]) -> None:
    assert lanes.starts_processes(function)


def test_what_runs_in_this_process_is_not_marked() -> None:
    assert not lanes.starts_processes(in_this_process)


def test_a_test_of_a_server_is_marked(server: str, request: pytest.FixtureRequest) -> None:
    assert request.node.get_closest_marker("process") and not request.node.get_closest_marker("browser")


def test_a_test_of_a_scripted_provider_is_marked(upstream_server: Upstream, request: pytest.FixtureRequest) -> None:
    assert request.node.get_closest_marker("provider") and not request.node.get_closest_marker("process")


@pytest.mark.parametrize(("ci", "outcome"), [("", pytest.skip.Exception), ("true", AssertionError)])
def test_without_the_model(monkeypatch: pytest.MonkeyPatch, ci: str, outcome: type[BaseException]) -> None:
    monkeypatch.setenv("CI", ci)
    monkeypatch.delenv("LOCAL_BASE_URL", raising=False)
    item: Any = SimpleNamespace(get_closest_marker=lambda name: name == "local_model")
    with pytest.raises(outcome, match="no embedded model"):
        lanes.require_model(item)
