"""Identifiers as the words they are made of: `readHTTPHeader` and `read_http_header` are both `read http header`."""

import re

from rag.search.abbreviations import written_out

# A word of an identifier: an acronym before a capitalised word, a capitalised or lower-case word, a number.
PART = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[^\W\d_A-Z]+|[A-Z]+|\d+")
IDENTIFIER = re.compile(r"[^\W\d]\w*")
# Words of the languages themselves, which say nothing about what a function is for.
KEYWORDS = {
    *("abstract", "async", "bool", "boolean", "char", "class", "const", "constexpr", "def", "double", "enum"),
    *("export", "extends", "extern", "final", "float", "fn", "func", "function", "i32", "i64", "impl"),
    *("implements", "import", "in", "inline", "int", "interface", "internal", "let", "long", "mut", "namespace"),
    *("new", "none", "null", "number", "object", "override", "private", "protected", "pub", "public", "readonly"),
    *("return", "self", "sealed", "short", "static", "str", "string", "struct", "template", "this", "trait"),
    *("type", "typename", "u32", "u64", "unsigned", "usize", "var", "virtual", "void", "where"),
}
# Words of a question that no name would have.
FILLERS = {
    *("a", "all", "an", "and", "any", "are", "as", "at", "be", "by", "for", "from", "given", "if", "in", "into", "is"),
    *("it", "its", "no", "not", "of", "on", "or", "return", "returns", "that", "the", "this", "to", "when", "which"),
    *("with",),
}
LONGEST = 64  # characters of a word: what is longer was no word


def split(text: str) -> list[str]:
    """The words of any text, in lower case."""
    return [part.lower() for part in PART.findall(text) if len(part) <= LONGEST]


def joined(text: str) -> list[str]:
    """Identifiers of several words as one, so that one can be found by its exact name, however it is written."""
    found = dict.fromkeys(IDENTIFIER.findall(text))
    return ["".join(parts) for name in found if len(parts := split(name)) > 1 and len(name) <= LONGEST]


def searchable(text: str) -> str:
    """What the full-text index is given of a text: its words, its whole identifiers, and what is short for others."""
    found = split(text)
    known = set(found)
    return " ".join([*found, *joined(text), *dict.fromkeys(each for each in written_out(found) if each not in known)])


def as_identifier(question: str) -> str:
    """The name that a function might have which answers a question, `close_http_session`; empty where it says none."""
    return "_".join(word for word in split(question) if word not in FILLERS)


def description(path: str, symbol: str, signature: str) -> str:
    """What a chunk is, in plain words: its name, where it lies, what it takes and gives.

    `close. http client session: session close. timeout seconds`
    """
    stem, dot, _ = path.rpartition(".")
    names = _plain(split(symbol.rpartition(".")[2]))
    details = _plain([word for word in split(signature) if word not in KEYWORDS])
    place = _plain(split(stem if dot else path))
    return f"{names}. {place}: {_plain(split(symbol))}. {details}" if symbol else place


def _plain(words: list[str]) -> str:
    return " ".join(written_out(words))
