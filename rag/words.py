"""Identifiers as the words they are made of: `readHTTPHeader` and `read_http_header` are both `read http header`."""

import re

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
LONGEST = 64  # characters of a word: what is longer was no word


def split(text: str) -> list[str]:
    """The words of any text, in lower case."""
    return [part.lower() for part in PART.findall(text) if len(part) <= LONGEST]


def joined(text: str) -> list[str]:
    """Identifiers of several words as one, so that one can be found by its exact name, however it is written."""
    found = dict.fromkeys(IDENTIFIER.findall(text))
    return ["".join(parts) for name in found if len(parts := split(name)) > 1 and len(name) <= LONGEST]


def searchable(text: str) -> str:
    """What the full-text index is given of a text: its words, then its whole identifiers."""
    return " ".join([*split(text), *joined(text)])


def description(path: str, symbol: str, signature: str) -> str:
    """What a chunk is, in plain words: its name, where it lies, what it takes and gives.

    `close. http client session: session close. timeout seconds`
    """
    stem, dot, _ = path.rpartition(".")
    names = split(symbol.rpartition(".")[2])
    details = [word for word in split(signature) if word not in KEYWORDS]
    place = " ".join(split(stem if dot else path))
    return f"{' '.join(names)}. {place}: {' '.join(split(symbol))}. {' '.join(details)}" if symbol else place
