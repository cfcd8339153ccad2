"""Session tokens: claims, invalidation, and rotation of the secret."""

import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest

from accounts.models import User
from accounts.signin import jwt as tokens
from lunaos.errors import TokenExpired, TokenInvalid
from testing.client import Api, error


@pytest.fixture
def use_keys(settings: Any) -> Iterator[Any]:
    def use(keys: dict[str, str]) -> None:
        settings.JWT_KEYS = keys
        tokens._keys.cache_clear()
        tokens._verify.cache_clear()

    yield use
    use({})


def secret() -> str:
    return next(iter(tokens._keys().values()))


def test_claims(alice: Any) -> None:
    raw = tokens.issue(alice)
    claims = jwt.decode(raw, secret(), algorithms=["HS256"])

    assert jwt.get_unverified_header(raw) == {"alg": "HS256", "typ": "JWT", "kid": "default"}
    assert claims["sub"] == str(alice.pk)
    assert claims["email"] == alice.email
    assert claims["tier"] == "free"
    assert claims["exp"] - claims["iat"] == 7 * 24 * 3600


@pytest.mark.parametrize(("ahead_s", "good"), [(5, True), (3600, False)])
def test_a_token_of_a_node_whose_clock_is_ahead(api: Api, alice: Any, ahead_s: int, good: bool) -> None:
    claims = jwt.decode(tokens.issue(alice), secret(), algorithms=["HS256"])
    raw = jwt.encode({**claims, "iat": time.time() + ahead_s}, secret(), "HS256", headers={"kid": "default"})
    response = api.get("/auth/me", headers={"Authorization": f"Bearer {raw}"})
    assert response.status_code == 200 if good else error(response) == (401, "token_invalid")


def test_rotation(alice: Any, use_keys: Any) -> None:
    old, new = "o" * 40, "n" * 40
    use_keys({"2025": old})
    before = tokens.issue(alice)
    use_keys({"2026": new, "2025": old})

    assert jwt.get_unverified_header(tokens.issue(alice))["kid"] == "2026"
    assert tokens.authenticate(before) == alice
    use_keys({"2026": new})
    with pytest.raises(TokenInvalid):
        tokens.authenticate(before)


def test_a_password_change_ends_all_tokens(api: Api, alice: Any) -> None:
    headers = api.as_(alice)
    assert api.get("/auth/me", headers=headers).status_code == 200
    alice.set_password("another horse 43 battery")
    alice.save()
    assert error(api.get("/auth/me", headers=headers)) == (401, "token_invalid")


def test_a_disabled_account_is_refused_at_once(api: Api, alice: Any) -> None:
    headers = api.as_(alice)
    assert api.get("/auth/me", headers=headers).status_code == 200
    User.objects.filter(pk=alice.pk).update(is_active=False)
    assert error(api.get("/auth/me", headers=headers)) == (401, "token_invalid")


def test_a_deleted_account_is_refused_at_once(api: Api, alice: Any) -> None:
    headers = api.as_(alice)
    alice.delete()
    assert error(api.get("/auth/me", headers=headers)) == (401, "token_invalid")


def test_the_tier_of_the_database_counts(api: Api, bob: Any) -> None:
    headers = api.as_(bob)
    User.objects.filter(pk=bob.pk).update(tier="free")
    response = api.get("/auth/me", headers=headers)
    assert response.json()["data"]["tier"] == "free"
    assert response.headers["X-RateLimit-Limit"] == "60"


def test_an_expired_token(api: Api, alice: Any) -> None:
    token = tokens.SessionToken.for_user(alice)
    token.set_exp(lifetime=-tokens.SessionToken.lifetime)
    response = api.get("/auth/me", headers={"Authorization": f"Bearer {token}"})
    assert error(response) == (401, "token_expired")


def test_a_token_that_expires_after_it_was_seen(alice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = tokens.issue(alice)
    assert tokens.authenticate(raw) == alice
    later = time.time() + 8 * 24 * 3600
    monkeypatch.setattr(time, "time", lambda: later)
    with pytest.raises(TokenExpired):
        tokens.authenticate(raw)


def forged(alice: Any, **changes: Any) -> str:
    claims = {**jwt.decode(tokens.issue(alice), options={"verify_signature": False}), **changes}
    return jwt.encode(claims, secret(), algorithm="HS256", headers={"kid": "default"})


@pytest.mark.parametrize("changes", [{"sub": "nobody"}, {"sub": None}, {"cred": "0" * 32}, {"token_type": "refresh"}])
def test_signed_tokens_with_wrong_claims(api: Api, alice: Any, changes: dict[str, Any]) -> None:
    response = api.get("/auth/me", headers={"Authorization": f"Bearer {forged(alice, **changes)}"})
    assert error(response) == (401, "token_invalid")


ODD: list[Any] = [
    "9999999999",
    "never",
    "\u0665",
    None,
    True,
    [],
    {},
    1e300,
    float("nan"),
    float("inf"),
    -1e20,
    "é" * 32,
]


@pytest.mark.parametrize("claim", ["exp", "iat", "sub", "jti", "cred", "email", "tier", "nbf", "token_type"])
def test_signed_tokens_with_claims_of_wrong_types(alice: Any, claim: str) -> None:
    """Each is refused where it is read; as text, an end far away is none."""
    for value in ODD:
        if claim in ("email", "tier") and isinstance(value, str):
            continue  # for display; any text will do
        if claim in ("nbf", "iat") and (value == -1e20 or (claim == "nbf" and value in ("\u0665", True))):
            continue  # a moment in the past, which the library reads
        with pytest.raises((TokenInvalid, TokenExpired)):
            tokens.authenticate(forged(alice, **{claim: value}))


@pytest.mark.parametrize("exp", ["9999999999", 1e300, None])
def test_an_invalid_expiry_is_no_server_error(api: Api, alice: Any, exp: Any) -> None:
    headers = {"Authorization": f"Bearer {forged(alice, exp=exp)}"}
    assert error(api.get("/auth/me", headers=headers)) == (401, "token_invalid")


@pytest.mark.parametrize("algorithm", ["none", "HS512"])
def test_another_algorithm_is_refused(api: Api, alice: Any, algorithm: str) -> None:
    claims = jwt.decode(tokens.issue(alice), options={"verify_signature": False})
    raw = jwt.encode(claims, "" if algorithm == "none" else secret(), algorithm=algorithm, headers={"kid": "default"})
    assert error(api.get("/auth/me", headers={"Authorization": f"Bearer {raw}"})) == (401, "token_invalid")
