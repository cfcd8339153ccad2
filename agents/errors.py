"""Errors that end a request before an agent runs."""

from types import MappingProxyType

from lunaos.errors import LunaError


class UnknownAgent(LunaError):
    code, status, message = "unknown_agent", 404, "Unknown agent."
    members = MappingProxyType({"available": ["code-review", "testing-validation"]})
