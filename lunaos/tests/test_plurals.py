"""Nouns and verbs that agree with a count."""

import pytest

from lunaos.infra.plurals import counted


@pytest.mark.parametrize(
    ("count", "noun", "predicate", "expected"),
    [
        (1, "account", "are disabled", "1 account is disabled"),
        (0, "account", "are disabled", "0 accounts are disabled"),
        (1, "account", "have to sign in again", "1 account has to sign in again"),
        (2, "account", "can sign in again", "2 accounts can sign in again"),
        (1, "run", "were told to end", "1 run was told to end"),
        (1, "repository", "", "1 repository"),
        (1_000, "repository", "", "1,000 repositories"),
        (3, "key", "", "3 keys"),
    ],
)
def test_it_works(count: int, noun: str, predicate: str, expected: str) -> None:
    assert counted(count, noun, predicate) == expected
