"""Regular expressions of the product: no two unbounded repeats side by side.

Over what a client sends, such a pattern is a way to stop a process.
"""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from re import _constants as constants
from re import _parser as parser
from typing import Any

import pytest

APPS = ("lunaos", "accounts", "agents", "apikeys", "billing", "chains", "rag", "refusals", "runs", "web")
LEFT_OUT = ("tests", "migrations", "management", "__main__", "spans", "settings", "stripe_tables")
TOO_MANY = 99


def patterns() -> Iterator[tuple[str, "re.Pattern[Any]"]]:
    """All patterns of modules, with where they stand."""
    for app in APPS:
        for module in pkgutil.walk_packages(importlib.import_module(app).__path__, f"{app}."):
            if not set(module.name.split(".")) & set(LEFT_OUT):
                for name, value in vars(importlib.import_module(module.name)).items():
                    yield from ((f"{module.name}.{name}", pattern) for pattern in within(value))


def within(value: Any) -> Iterator["re.Pattern[Any]"]:
    if isinstance(value, re.Pattern):
        yield value
    elif type(value) in (tuple, list, dict):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from within(inner)


def repeats(parsed: Any) -> int:
    """Return the number of unbounded repeats, possessive ones left out."""
    if isinstance(parsed, parser.SubPattern):
        return sum(repeats(item) for item in parsed)
    operation, argument = parsed
    if operation is constants.BRANCH:
        return max(map(repeats, argument[1]))
    if operation in (constants.MAX_REPEAT, constants.MIN_REPEAT, constants.POSSESSIVE_REPEAT):
        endless, inner = argument[1] is constants.MAXREPEAT, repeats(argument[2])
        return TOO_MANY if endless and inner else inner + (endless and operation is not constants.POSSESSIVE_REPEAT)
    if operation is constants.ATOMIC_GROUP:
        return repeats(argument)
    nested = operation in (constants.SUBPATTERN, constants.ASSERT, constants.ASSERT_NOT)
    return repeats(argument[-1]) if nested else 0


FOUND = dict(patterns())


@pytest.mark.parametrize("where", FOUND)
def test_a_pattern_has_one_endless_repeat_at_most(where: str) -> None:
    pattern = FOUND[where]
    flags = pattern.flags & ~re.UNICODE if isinstance(pattern.pattern, bytes) else pattern.flags
    assert repeats(parser.parse(pattern.pattern, flags)) <= 1, pattern.pattern


@pytest.mark.parametrize("bad", ["(a+)+b", r"\w*secret\w*=", "(a|b*)*", r"\s+x(?=y\s*z)"])
def test_the_measure_finds_something(bad: str) -> None:
    assert repeats(parser.parse(bad)) > 1


def test_the_walk_finds_something() -> None:
    assert (
        len(FOUND) > 20
        and "lunaos.infra.observability.logs.SECRETS" in FOUND
        and "lunaos.request_limits.CREDENTIAL_FORMATS" in FOUND
    )
