"""Fixtures of the tests of accounts."""

from collections.abc import Iterator
from typing import Any

import pytest

from lunaos.infra import client_info


@pytest.fixture
def at() -> Iterator[Any]:
    """Have this process answer a request from an address."""
    before = client_info.current()
    client_info.set_current(address="192.0.2.1", user_agent="")
    yield lambda address: client_info.set_current(address=address, user_agent="")
    client_info.set_current(address=before.address, user_agent=before.user_agent)
