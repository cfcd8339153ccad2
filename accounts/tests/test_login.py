"""POST /auth/login."""

from typing import Any
from unittest.mock import patch

import pytest
from django.http import HttpRequest

from accounts import services
from accounts.errors import InvalidCredentials
from accounts.signin.hashers import Argon2idHasher
from testing.client import PASSWORD, Api, error
from testing.windows import address_with_time_left


def test_it_works(api: Api, alice: Any) -> None:
    response = api.post("/auth/login", json={"email": alice.email.upper(), "password": PASSWORD})

    data = response.json()["data"]
    assert response.status_code == 200
    assert data["user"] == {"id": str(alice.pk), "email": alice.email, "name": "Alice", "tier": "free"}
    assert api.get("/auth/me", headers={"Authorization": f"Bearer {data['token']}"}).status_code == 200


def test_unknown_address_and_wrong_password_get_the_same_answer(api: Api, alice: Any) -> None:
    wrong = api.post("/auth/login", json={"email": alice.email, "password": "wrong"})
    unknown = api.post("/auth/login", json={"email": "nobody@example.com", "password": "wrong"})

    assert error(wrong) == error(unknown) == (401, "invalid_credentials")
    assert wrong.json()["error"] == unknown.json()["error"]


@pytest.mark.parametrize("known", [True, False])
def test_unknown_address_and_wrong_password_cost_one_hash_each(alice: Any, known: bool) -> None:
    """The time is the hash's; so that one is computed either way is what makes both take as long."""
    email = alice.email if known else "nobody@example.com"
    with patch.object(Argon2idHasher, "verify", autospec=True, side_effect=Argon2idHasher.verify) as verify:
        with patch.object(Argon2idHasher, "encode", autospec=True, side_effect=Argon2idHasher.encode) as encode:
            with pytest.raises(InvalidCredentials):
                services.log_in(request=HttpRequest(), email=email, password="wrong")
    assert verify.call_count + encode.call_count == 1


def test_a_disabled_account_cannot_sign_in(api: Api, make_user: Any) -> None:
    user = make_user(is_active=False)
    assert error(api.post("/auth/login", json={"email": user.email, "password": PASSWORD})) == (
        401,
        "invalid_credentials",
    )


def test_a_short_password_is_wrong_and_not_invalid(api: Api, alice: Any) -> None:
    assert error(api.post("/auth/login", json={"email": alice.email, "password": "x"})) == (401, "invalid_credentials")


def test_the_password_has_a_maximum_length(api: Api, alice: Any) -> None:
    response = api.post("/auth/login", json={"email": alice.email, "password": "x" * 129})
    assert error(response) == (400, "validation_error")


def test_ten_attempts_in_five_minutes(api: Api, alice: Any) -> None:
    attempt = {"email": alice.email, "password": "wrong"}
    with api.from_address(address_with_time_left(300)) as client:
        codes = [error(client.post("/auth/login", json=attempt))[1] for _ in range(10)]
        response = client.post("/auth/login", json={"email": alice.email, "password": PASSWORD})

    assert codes == ["invalid_credentials"] * 10
    assert error(response) == (429, "rate_limited")
    assert 0 < int(response.headers["Retry-After"]) <= 300
