"""rag.search.words: identifiers as words."""

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
def test_split(text: str, found: list[str]) -> None:
    assert words.split_words(text) == found


def test_an_identifier_is_found_however_it_is_written() -> None:
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
def test_the_name_that_would_answer_a_question(question: str, name: str) -> None:
    assert words.as_identifier(question) == name


def test_what_is_short_for_other_words_is_found_by_these() -> None:
    assert words.searchable_text("mkdir tmp") == "mkdir tmp make directory temporary"
    assert words.searchable_text("dir directory") == "dir directory"
    assert words.describe("cfg.py", "init_db", "def init_db(conn)") == (
        "initialize database. configuration: initialize database. initialize database connection"
    )


def test_every_abbreviation_is_a_word_for_others() -> None:
    assert len(EXPANSIONS) > 100
    for short, long in EXPANSIONS.items():
        assert (
            words.split_words(short) == [short]
            and words.split_words(long) == long.split()
            and short not in long.split()
        )


def test_a_description_is_plain_words() -> None:
    described = words.describe(
        "web/http-client/session.py", "Session.closeAll", "async def closeAll(self, timeout_s: int)"
    )
    assert described == "close all. web http client session: session close all. close all timeout s"
    assert words.describe("lib/Makefile", "", "") == "library makefile"
