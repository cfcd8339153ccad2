"""lunaos.infra.client_info: address and user agent of the current client."""

import contextvars

import pytest

from lunaos.infra import client_info


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (("10.0.0.1", "curl/8"), ("10.0.0.1", "curl/8")),
        (("x" * 99, "y" * 999), ("x" * 64, "y" * 256)),
        (("", "a\x00b\nc\x1b[31m"), ("", "abc[31m")),
    ],
)
def test_values_can_be_stored(sent: tuple[str, str], kept: tuple[str, str]) -> None:
    def entered() -> client_info.ClientInfo:
        client_info.set_current(address=sent[0], user_agent=sent[1])
        return client_info.current()

    found = contextvars.copy_context().run(entered)
    assert (found.address, found.user_agent) == kept


def test_there_is_no_client_outside_a_request() -> None:
    assert contextvars.Context().run(client_info.current) == client_info.NO_CLIENT


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::ffff:c000:0207", "192.0.2.7"),
        ("2001:db8::7", "2001:db8::/64"),
        ("unknown", "unknown"),
    ],
)
def test_addresses_of_one_client(address: str, network: str) -> None:
    """Mapped IPv4 addresses of a proxy must not count as one IPv6 network."""
    assert client_info.customer_network(address) == network


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.7", "192.0.2.7"),
        (" 192.0.2.7:5678", "192.0.2.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]:80", "2001:db8::7"),
        ('"[2001:db8::7]:80"', "2001:db8::7"),
        ("unknown", "unknown"),
        ("", ""),
    ],
)
def test_a_port_is_no_part_of_an_address(address: str, expected: str) -> None:
    assert client_info.strip_port(address) == expected
