"""Errors for unknown paths: a malformed id, or the endpoint that was meant."""

from collections.abc import Mapping, Sequence
from functools import cache
from types import MappingProxyType

from drf_spectacular.generators import SchemaGenerator

from apikeys.errors import KeyNotFound
from lunaos.errors import LunaError, NotFound
from lunaos.suggestions import find_nearest

MAX_SHOWN_CHARACTERS = 200  # of the path
MAX_ID_CHARACTERS = 64
MAX_METHOD_CHARACTERS = 20
SIMILARITY = 0.75  # paths have much in common
# The collections whose members have UUIDs; other values of this segment reach no view.
COLLECTIONS: Mapping[tuple[str, ...], tuple[str, type[LunaError]]] = MappingProxyType(
    {
        ("runs",): ("a run id", NotFound),
        ("api-keys",): ("an API key id", KeyNotFound),
        ("rag", "jobs"): ("a job id", NotFound),
    }
)


def error_for(method: str, path: str) -> LunaError:
    shown = f"{_cut(method, MAX_METHOD_CHARACTERS)} {_cut(path, MAX_SHOWN_CHARACTERS)}"
    return _malformed_id(method, path) or NotFound(
        f"Not found: no endpoint at {shown}{_suggestion(method, path) or '.'}"
    )


def _malformed_id(method: str, path: str) -> LunaError | None:
    segments = path.strip("/").split("/")
    for prefix, (noun, kind) in COLLECTIONS.items():
        size = len(prefix)
        if tuple(segments[:size]) == prefix and len(segments) > size:
            template = "/".join(["", *prefix, "{id}", *segments[size + 1 :]])
            if method in _endpoints().get(template, ()):
                return kind(f"{_cut(segments[size], MAX_ID_CHARACTERS)} is not {noun}.")
    return None


def _suggestion(method: str, path: str) -> str:
    endpoints = _endpoints()
    same_method = [known for known, methods in endpoints.items() if method in methods]
    for candidates in (same_method, [*endpoints]):
        if known := find_nearest(path, candidates, SIMILARITY):
            chosen = method if method in endpoints[known] else endpoints[known][0]
            return f"; did you mean {chosen} {known}?"
    return ""


@cache
def _endpoints() -> dict[str, Sequence[str]]:
    """Return the methods of each path in the OpenAPI document."""
    generator = SchemaGenerator()  # type: ignore[no-untyped-call]
    generator._initialise_endpoints()  # type: ignore[no-untyped-call]
    found: dict[str, list[str]] = {}
    for path, _, method, view in generator._get_paths_and_endpoints():  # type: ignore[no-untyped-call]
        if not view.schema.is_excluded():
            found.setdefault(path, []).append(method)
    return dict(found)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}…"
