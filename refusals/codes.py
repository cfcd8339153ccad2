"""The error codes of refusals."""

from collections.abc import Iterator

from lunaos.errors import ApiKeyInvalid, LunaError


def list_codes() -> list[str]:
    """Return the codes that a refusal may have, sorted."""
    return sorted({ApiKeyInvalid.code, *(kind.code for kind in _kinds(LunaError) if kind.is_refusal)})


def _kinds(error: type[LunaError]) -> Iterator[type[LunaError]]:
    for kind in error.__subclasses__():
        yield kind
        yield from _kinds(kind)
