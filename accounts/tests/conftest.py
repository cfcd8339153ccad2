"""What tests of accounts share."""

from collections.abc import Iterator
from typing import Any

import pytest

from lunaos import origin


@pytest.fixture
def at() -> Iterator[Any]:
    """Have this process answer a request from an address."""
    before = origin.current()
    origin.enter(address="192.0.2.1", user_agent="")
    yield lambda address: origin.enter(address=address, user_agent="")
    origin.enter(address=before.address, user_agent=before.user_agent)
