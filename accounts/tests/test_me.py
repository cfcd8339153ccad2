"""GET /auth/me, and all invalid credentials."""

import re
from typing import Any

import pytest

from testing.client import Api, error


def test_it_works(api: Api, alice: Any) -> None:
    response = api.get("/auth/me", headers=api.as_(alice))

    data = response.json()["data"]
    assert response.status_code == 200
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", data.pop("created_at"))
    assert data == {"id": str(alice.pk), "email": alice.email, "name": "Alice", "tier": "free"}


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        (None, "not_authenticated"),
        ("Basic YWxpY2U6eA==", "token_invalid"),
        ("Bearer", "token_invalid"),
        ("Bearer garbage", "token_invalid"),
        ("Bearer a.b.c", "token_invalid"),
        ("Bearer eyJhbGciOiJIUzI1NiJ9.e30.x", "token_invalid"),
        ("Bearer lnos_live_" + "0" * 32, "api_key_invalid"),
    ],
)
def test_bad_credentials(api: Api, authorization: str | None, code: str) -> None:
    response = api.get("/auth/me", headers={"Authorization": authorization} if authorization else {})

    assert error(response) == (401, code)
    assert response.headers["WWW-Authenticate"] == "Bearer"
