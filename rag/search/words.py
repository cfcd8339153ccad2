"""Split identifiers into words: `readHTTPHeader` and `read_http_header` give `read http header`."""

import re

from rag.search.abbreviations import expand

# A word of an identifier: an acronym before a capitalised word, a capitalised or lower-case word, a number.
WORD_PART = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[^\W\d_A-Z]+|[A-Z]+|\d+")
IDENTIFIER = re.compile(r"[^\W\d]\w*")
# Keywords of programming languages: they do not tell the purpose of a function.
KEYWORDS = {
    *("abstract", "async", "bool", "boolean", "char", "class", "const", "constexpr", "def", "double", "enum"),
    *("export", "extends", "extern", "final", "float", "fn", "func", "function", "i32", "i64", "impl"),
    *("implements", "import", "in", "inline", "int", "interface", "internal", "let", "long", "mut", "namespace"),
    *("new", "none", "null", "number", "object", "override", "private", "protected", "pub", "public", "readonly"),
    *("return", "self", "sealed", "short", "static", "str", "string", "struct", "template", "this", "trait"),
    *("type", "typename", "u32", "u64", "unsigned", "usize", "var", "virtual", "void", "where"),
}
# Words of a question that are in no identifier.
STOP_WORDS = {
    *("a", "all", "an", "and", "any", "are", "as", "at", "be", "by", "for", "from", "given", "if", "in", "into", "is"),
    *("it", "its", "no", "not", "of", "on", "or", "return", "returns", "that", "the", "this", "to", "when", "which"),
    *("with",),
}
MAX_WORD_LENGTH = 64  # longer ones are data instead of words


def split_words(text: str) -> list[str]:
    """Return the words of a text, in lower case."""
    return [part.lower() for part in WORD_PART.findall(text) if len(part) <= MAX_WORD_LENGTH]


def joined_identifiers(text: str) -> list[str]:
    """Return each identifier of several words as one word, so that its exact name is found."""
    found = dict.fromkeys(IDENTIFIER.findall(text))
    return ["".join(parts) for name in found if len(parts := split_words(name)) > 1 and len(name) <= MAX_WORD_LENGTH]


def searchable_text(text: str) -> str:
    """Return a text's words, joined identifiers and expanded abbreviations, for full text search."""
    found = split_words(text)
    known = set(found)
    return " ".join(
        [*found, *joined_identifiers(text), *dict.fromkeys(each for each in expand(found) if each not in known)]
    )


def as_identifier(question: str) -> str:
    """Return a function name that may answer a question, such as `close_http_session`, or ""."""
    return "_".join(word for word in split_words(question) if word not in STOP_WORDS)


def describe(path: str, symbol: str, signature: str) -> str:
    """Describe a chunk in words: name, place, parameters and return type."""
    # `close. http client session: session close. timeout seconds`
    stem, dot, _ = path.rpartition(".")
    names = _plain(split_words(symbol.rpartition(".")[2]))
    details = _plain([word for word in split_words(signature) if word not in KEYWORDS])
    place = _plain(split_words(stem if dot else path))
    return f"{names}. {place}: {_plain(split_words(symbol))}. {details}" if symbol else place


def _plain(words: list[str]) -> str:
    return " ".join(expand(words))
