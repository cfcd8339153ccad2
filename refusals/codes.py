"""The error codes of refusals."""

from lunaos.errors import ApiKeyInvalid, LunaError


def list_codes() -> list[str]:
    """Return the codes that a refusal may have, sorted."""
    return sorted({ApiKeyInvalid.code, *(kind.code for kind in LunaError.kinds() if kind.is_refusal)})
