"""The client whose request is being answered, in a context variable."""

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import structlog


@dataclass(frozen=True, slots=True)
class ClientInfo:
    # Behind LUNAOS_TRUSTED_PROXIES proxies; empty outside a request.
    address: str = ""
    # Printable characters only, at most USER_AGENT_CHARACTERS.
    user_agent: str = ""


IPV6_CUSTOMER_BITS = 64  # a customer's network (RFC 6177 allows more, RFC 7421 names the boundary)
ADDRESS_CHARACTERS, USER_AGENT_CHARACTERS = 64, 256  # stored at most

_current: ContextVar[ClientInfo] = ContextVar("origin")
NO_CLIENT = ClientInfo()


def current() -> ClientInfo:
    """Return the client of the current request; NO_CLIENT in commands and workers."""
    return _current.get(NO_CLIENT)


def set_current(*, address: str | None, user_agent: str) -> None:
    _current.set(
        ClientInfo(
            (address or "")[:ADDRESS_CHARACTERS], "".join(filter(str.isprintable, user_agent))[:USER_AGENT_CHARACTERS]
        )
    )


def strip_port(address: str) -> str:
    """Return an address of X-Forwarded-For without port, brackets and quotes."""
    address = address.strip().strip('"')
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.partition(":")[0] if address.count(":") == 1 else address


def customer_network(address: str) -> str:
    """Return an IPv4 address itself, or the /64 network of an IPv6 address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        # Not an address: kept, since rows show what a proxy sent.
        return address[:ADDRESS_CHARACTERS]
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    if parsed.version == 4:
        return str(parsed)
    return str(ipaddress.ip_network((parsed, IPV6_CUSTOMER_BITS), strict=False))


@contextmanager
def without_client() -> Iterator[None]:
    """Record no client for rows written in the block."""
    token = _current.set(NO_CLIENT)
    try:
        yield
    finally:
        _current.reset(token)


def request_id() -> str:
    """Return the id of the current request, or of the request that enqueued the task."""
    return str(structlog.contextvars.get_contextvars().get("request_id", ""))
