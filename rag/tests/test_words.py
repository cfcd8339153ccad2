"""Tests of rag.search.words: identifiers as words."""

import pytest

from rag.search import words
from rag.search.abbreviations import EXPANSIONS


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("read_http_header", ["read", "http", "header"]),
        ("readHTTPHeader", ["read", "http", "header"]),
        ("ReadHttpHeader2", ["read", "http", "header", "2"]),
        ("__init__", ["init"]),
        ("SQLAlchemy", ["sql", "alchemy"]),
        ("a.b->c::d", ["a", "b", "c", "d"]),
        ("größe_ändern", ["größe", "ändern"]),
        ("日本語", ["日本語"]),
        ("x" * 65, []),
        ("'; DROP TABLE--", ["drop", "table"]),
    ],
)
def test_split_words(text: str, found: list[str]) -> None:
    assert words.split_words(text) == found


def test_identifiers_are_found_in_any_spelling() -> None:
    assert (
        words.joined_identifiers("read_http_header") == words.joined_identifiers("readHttpHeader") == ["readhttpheader"]
    )
    assert words.joined_identifiers("plain words here") == []
    assert words.searchable_text("readFile now") == "read file now readfile"


@pytest.mark.parametrize(
    ("question", "name"),
    [
        ("Return the size of a file.", "size_file"),
        ("Where is readHTTPHeader?", "where_read_http_header"),
        ("Is it in the?", ""),
        ("", ""),
    ],
)
def test_a_question_as_an_identifier(question: str, name: str) -> None:
    assert words.as_identifier(question) == name


def test_abbreviations_are_found_by_the_words_they_stand_for() -> None:
    assert words.searchable_text("mkdir tmp") == "mkdir tmp make directory temporary"
    assert words.searchable_text("dir directory") == "dir directory"
    assert words.describe("cfg.py", "init_db", "def init_db(conn)") == (
        "initialize database. configuration: initialize database. initialize database connection"
    )


def test_every_abbreviation_is_one_word() -> None:
    assert len(EXPANSIONS) > 100
    for short, long in EXPANSIONS.items():
        assert (
            words.split_words(short) == [short]
            and words.split_words(long) == long.split()
            and short not in long.split()
        )


def test_a_description_has_words_only() -> None:
    described = words.describe(
        "web/http-client/session.py", "Session.closeAll", "async def closeAll(self, timeout_s: int)"
    )
    assert described == "close all. web http client session: session close all. close all timeout s"
    assert words.describe("lib/Makefile", "", "") == "library makefile"
