"""rag.words: identifiers as words."""

import pytest

from rag import words


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
    assert words.split(text) == found


def test_an_identifier_is_found_however_it_is_written() -> None:
    assert words.joined("read_http_header") == words.joined("readHttpHeader") == ["readhttpheader"]
    assert words.joined("plain words here") == []
    assert words.searchable("readFile now") == "read file now readfile"


def test_a_description_is_plain_words() -> None:
    described = words.description(
        "src/http-client/session.py", "Session.closeAll", "async def closeAll(self, timeout_s: int)"
    )
    assert described == "close all. src http client session: session close all. close all timeout s"
    assert words.description("docs/Makefile", "", "") == "docs makefile"
