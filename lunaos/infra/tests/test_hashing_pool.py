"""Password hashes have a thread pool of their own, which delays no other request."""

from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import httpx
import pytest

from testing.client import NO_TRUSTED_AUTHORITIES, PASSWORD, Api
from testing.servers import daphne

LOGINS = 24


@pytest.fixture(scope="module")
def narrow_url(django_db_setup: None, django_db_blocker: Any, folder: Path) -> Iterator[str]:
    """Return a web process with one hashing thread and one other thread."""
    changes = {"LUNAOS_HASHING_THREADS": "1", "LUNAOS_THREADS": "1"}
    with django_db_blocker.unblock(), daphne(folder / "narrow.log", **changes) as url:
        yield url


def log_in(url: str, user: Any, number: int) -> int:
    """From an address of its own: there is a limit to signing in."""
    with httpx.Client(
        transport=httpx.HTTPTransport(NO_TRUSTED_AUTHORITIES, local_address=f"127.0.4.{number + 1}"), timeout=60
    ) as client:
        return client.post(f"{url}/auth/login", json={"email": user.email, "password": PASSWORD}).status_code


def test_other_requests_do_not_wait(narrow_url: str, alice: Any) -> None:
    with ThreadPoolExecutor(LOGINS) as pool, Api(base_url=narrow_url, timeout=60) as api:
        headers = api.as_(alice)
        logins: list[Future[int]] = [pool.submit(log_in, narrow_url, alice, n) for n in range(LOGINS)]
        wait(logins, return_when=FIRST_COMPLETED)
        assert api.get("/auth/me", headers=headers).status_code == 200
        waiting = [login for login in logins if not login.done()]
        assert waiting, "the request waited behind all of the sign-ins"
        assert {login.result() for login in logins} == {200}
