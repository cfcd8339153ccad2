"""What of a file is indexed where the whole would only fill the index."""

import re

from rag.indexing import notebooks

# Encoded data in a source file: a picture in a style sheet, a certificate bundle, a model's weights.
BLOB = re.compile(r"[A-Za-z0-9+/_-]{1000,}={0,2}")
DATA_SUFFIXES = {"csv", "tsv", "svg", "geojson", "ndjson", "jsonl", "xml", "plist", "po", "ipynb"}
FIXTURE_SUFFIXES = {"json", "yaml", "yml"}  # also of configuration, which is short
MAX_DATA_CHARACTERS = 4_000
MAX_CONFIGURATION_CHARACTERS = 40_000
LOCK_FILES = re.compile(
    r"""
    .{1,512}\.(?:lock|lockb|lockfile) | go\.sum | package-lock\.json | npm-shrinkwrap\.json | pnpm-lock\.ya?ml
    | packages\.lock\.json | (?:Package|Cartfile)\.resolved | \.terraform\.lock\.hcl
    """,
    re.VERBOSE | re.IGNORECASE,
)


def without_blobs(content: str) -> str:
    """Return a text in which runs of encoded data are named by their length; its lines keep their numbers."""
    return BLOB.sub(lambda blob: f"[{len(blob[0])} characters of data]", content)


def is_data(path: str) -> bool:
    """Return whether the head alone of a file is indexed, or a notebook's cells."""
    name = path.rsplit("/", 1)[-1].lower()
    return name.rpartition(".")[2] in DATA_SUFFIXES | FIXTURE_SUFFIXES or bool(LOCK_FILES.fullmatch(name))


def excerpt(path: str, content: str) -> str:
    """Return what is indexed of a file: a notebook's cells, the head of data, else all of it."""
    name = path.rsplit("/", 1)[-1].lower()
    suffix = name.rpartition(".")[2]
    if suffix == "ipynb" and (text := notebooks.as_markdown(content)) is not None:
        return text
    if suffix in DATA_SUFFIXES or LOCK_FILES.fullmatch(name):
        return _head(content, MAX_DATA_CHARACTERS)
    if suffix in FIXTURE_SUFFIXES and len(content) > MAX_CONFIGURATION_CHARACTERS:
        return _head(content, MAX_DATA_CHARACTERS)
    return content


def _head(content: str, characters: int) -> str:
    """Return the whole lines of a text's beginning, or the beginning of one long line."""
    if len(content) <= characters:
        return content
    head, newline, _ = content[:characters].rpartition("\n")
    return f"{head}\n" if newline else content[:characters]
