"""Errors before a chain runs."""

from types import MappingProxyType

from lunaos.errors import LunaError


class UnknownChain(LunaError):
    code, status, message = "unknown_chain", 404, "No such chain."
    members = MappingProxyType({"available": ["full-review"]})


class ChainTooLong(LunaError):
    code, status, message = "chain_too_long", 400, "A chain has at most 5 steps."
