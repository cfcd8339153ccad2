"""The marks that decide in which lane a test runs, found from what its code uses."""

import inspect
import multiprocessing
import os
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from types import CodeType, FunctionType, ModuleType
from typing import Any

import pytest
from playwright import sync_api

from testing import servers
from testing.loopback.embeddings import EmbeddingsServer
from testing.loopback.upstream import Upstream
from tools.stripe_double.double import Double

STARTS_PROCESSES = (subprocess, multiprocessing, sync_api.sync_playwright, servers.start)
PROVIDERS = (Upstream, EmbeddingsServer, Double)  # scripted servers, asked over HTTP
OURS = ("testing.", "conftest", "tools.")  # modules that are searched, besides those of tests


def mark(items: list[pytest.Item]) -> None:
    for item in items:
        if not isinstance(item, pytest.Function):
            continue
        fixtures = item._fixtureinfo.name2fixturedefs
        if "chromium" in fixtures:
            item.add_marker(pytest.mark.browser)
        functions = [item.function, *(definition[-1].func for definition in fixtures.values())]
        if any(asks_provider(function) for function in functions):
            item.add_marker(pytest.mark.provider)
        if any(starts_processes(function) for function in functions):
            item.add_marker(pytest.mark.process)


def require_model(item: pytest.Item) -> None:
    """Skip a test of the embedded model where none runs; in CI the test fails."""
    if item.get_closest_marker("local_model") and not os.environ.get("LOCAL_BASE_URL"):
        reason = "no embedded model: run the tests by `make test`, or by `python -m lunaos.embedded run --llm`"
        assert not os.environ.get("CI"), reason
        pytest.skip(reason)


@cache
def starts_processes(function: Callable[..., Any]) -> bool:
    # By itself, or by one of the tests' own functions that it names.
    return any(used in STARTS_PROCESSES for used in _used(function, set()))


@cache
def asks_provider(function: Callable[..., Any]) -> bool:
    return any(used in PROVIDERS for used in _used(function, set()))


def _used(function: Any, seen: set[Any]) -> Iterator[Any]:
    """Yield the modules, functions and classes that a function names, and so on."""
    function = inspect.unwrap(function)
    if not isinstance(function, FunctionType) or function in seen:
        return
    seen.add(function)
    names = set(_names(function.__code__))
    for value in [function.__globals__[name] for name in names & function.__globals__.keys()]:
        yield from _followed(value, names, seen)


def _followed(value: Any, names: set[str], seen: set[Any]) -> Iterator[Any]:
    if isinstance(value, ModuleType):
        yield value
        if _is_ours(value.__name__):
            for name in names & vars(value).keys():
                yield from _followed(vars(value)[name], names, seen)
    elif isinstance(value, type) and _is_ours(value.__module__):
        yield value
        for method in vars(value).values():
            yield from _used(method, seen)
    elif callable(value) and _is_ours(getattr(value, "__module__", None) or ""):
        yield value
        yield from _used(value, seen)
    elif callable(value) and getattr(value, "__hash__", None):
        yield value


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _is_ours(module: str) -> bool:
    return module.startswith(OURS) or ".tests." in f"{module}."
