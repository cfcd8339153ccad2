"""What can go wrong before a chain runs."""

from types import MappingProxyType

from lunaos.errors import LunaError


class UnknownChain(LunaError):
    code, status, message = "unknown_chain", 404, "There is no such chain."
    members = MappingProxyType({"available": ["full-review"]})


class ChainTooLong(LunaError):
    code, status, message = "chain_too_long", 400, "A chain has 5 steps at most."
