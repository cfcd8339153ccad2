"""Errors of the key endpoints."""

from lunaos.errors import LunaError


class KeyLimitReached(LunaError):
    code, status, message = (
        "key_limit_reached",
        400,
        "You have as many active keys as your tier allows. Revoke one first.",
    )
    is_refusal = True


class KeyNotFound(LunaError):
    code, status, message = "key_not_found", 404, "There is no such active key."
