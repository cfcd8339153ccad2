"""One export of an account at a time."""

import socket
import uuid
from typing import Any

import httpx
import pytest

from accounts.errors import ExportUnderWay
from accounts.privacy.export import ExportSlot
from accounts.signin import sessions
from accounts.tests.test_export import add_file
from lunaos.embedded.servers import until
from lunaos.infra import redis
from testing.client import NO_TRUSTED_AUTHORITIES, Api, error

PIECE = "x" * 200_000


@pytest.fixture
def library(alice: Any) -> Any:
    """Return a user whose export does not fit into the buffers of a connection."""
    add_file(alice, "a.py", *[PIECE] * 50)
    return alice


def slow(api: Api) -> httpx.Client:
    """Return a client with little room, which holds up what it does not read."""
    options = [(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)]
    transport = httpx.HTTPTransport(NO_TRUSTED_AUTHORITIES, socket_options=options)
    return httpx.Client(base_url=api.base_url, timeout=30, transport=transport)


def test_it_works(api: Api, library: Any, bob: Any) -> None:
    own = api.as_(library)
    with slow(api) as client, client.stream("GET", "/auth/export", headers=own) as first:
        pieces = first.iter_raw()
        next(pieces)
        refused = api.get("/auth/export", headers=own)
        assert error(refused) == (429, "export_under_way") and int(refused.headers["Retry-After"]) > 0
        assert api.get("/auth/export", headers=api.as_(bob)).is_success
    assert until(lambda: api.get("/auth/export", headers=own).is_success, 5, every=0.5)  # the first has left
    assert until(lambda: api.get("/auth/export", headers=own).is_success, 5, every=0.5)  # the second has ended


def test_the_end_of_the_session_stops_it(api: Api, library: Any) -> None:
    """Also where the client reads nothing."""
    with slow(api) as client, client.stream("GET", "/auth/export", headers=api.as_(library)) as response:
        pieces = response.iter_raw()
        assert next(pieces) and redis.client().exists(f"lunaos:export:{library.pk}")
        sessions.end_all(library)
        assert until(lambda: not redis.client().exists(f"lunaos:export:{library.pk}"), 10)


def test_a_slot_expires(database: None, settings: Any) -> None:
    user_id = uuid.uuid4()
    first, second = ExportSlot(user_id), ExportSlot(user_id)
    first.acquire()
    with pytest.raises(ExportUnderWay):
        second.acquire()
    second.release()  # of another's slot nothing is given back
    assert 0 < redis.client().ttl(f"lunaos:export:{user_id}") <= settings.STREAM_STALL_S + 30
    redis.client().delete(f"lunaos:export:{user_id}")
    second.acquire()
    first.release()
    assert redis.client().exists(f"lunaos:export:{user_id}")
