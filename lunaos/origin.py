"""Where the request that is being answered comes from, for whoever writes it down: a context variable of its own."""

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import structlog


@dataclass(frozen=True, slots=True)
class Origin:
    """A client, as far as a request tells.

    Args:
        address: behind as many proxies as LUNAOS_TRUSTED_PROXIES says; empty where no request is being answered.
        user_agent: as sent, cut to a length that can be stored.
    """

    address: str = ""
    user_agent: str = ""


IPV6_CUSTOMER_BITS = 64  # what one customer is given (RFC 6177 allows more, RFC 7421 names the boundary)
ADDRESS_CHARACTERS, USER_AGENT_CHARACTERS = 64, 256  # what is kept of them

_current: ContextVar[Origin] = ContextVar("origin")
NOWHERE = Origin()


def current() -> Origin:
    """The origin of the request being answered; empty in commands and in workers."""
    return _current.get(NOWHERE)


def enter(*, address: str | None, user_agent: str) -> None:
    """From now on, in this context, this client is being answered."""
    _current.set(
        Origin(
            (address or "")[:ADDRESS_CHARACTERS], "".join(filter(str.isprintable, user_agent))[:USER_AGENT_CHARACTERS]
        )
    )


def network_of(address: str) -> str:
    """The address itself, or of an IPv6 address the network that one customer has; what is no address stays.

    An IPv4 address in IPv6's form (RFC 4291, 2.5.5.2), as a server has it that listens for both, is the IPv4 address.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:ADDRESS_CHARACTERS]
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    if parsed.version == 4:
        return str(parsed)
    return str(ipaddress.ip_network((parsed, IPV6_CUSTOMER_BITS), strict=False))


@contextmanager
def unknown() -> Iterator[None]:
    """Within the block nobody is being answered, as far as what is written down goes."""
    token = _current.set(NOWHERE)
    try:
        yield
    finally:
        _current.reset(token)


def request_id() -> str:
    """The id of the request being answered, or of the one that put the task under way into the queue."""
    return str(structlog.contextvars.get_contextvars().get("request_id", ""))
