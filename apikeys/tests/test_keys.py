"""Endpoints /api-keys: create, list, revoke."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from django.db import connection

from accounts.models import AuditEvent, IdempotencyKey
from apikeys import secret, services
from apikeys.models import ApiKey
from billing.models import Tier
from lunaos.api.json import timestamp
from lunaos.embedded.servers import until
from testing.client import Api, error


def create(api: Api, user: Any, /, **body: Any) -> httpx.Response:
    headers = {**api.as_(user), **body.pop("headers", {})}
    return api.post("/api-keys", json=body, headers=headers)


def test_it_works(api: Api, alice: Any) -> None:
    response = create(api, alice, name="CI")
    assert response.status_code == 201
    made = response.json()["data"]
    assert re.fullmatch(r"lnos_live_[0-9a-f]{32}", made["key"])
    assert made["prefix"] == made["key"][:18] and made["name"] == "CI"
    assert made["scopes"] == ["agents", "chains", "rag", "billing:read"] and made["expiresAt"] is None
    (row,) = api.get("/api-keys", headers=api.as_(alice)).json()["data"]["keys"]
    assert row == {name: made[name] for name in row if name != "lastUsedAt"} | {"lastUsedAt": None}
    assert "key" not in row
    assert api.get("/auth/me", headers={"Authorization": f"Bearer {made['key']}"}).json()["data"]["id"] == str(alice.pk)


def test_the_secret_is_not_stored(api: Api, alice: Any) -> None:
    made = create(api, alice, headers={"Idempotency-Key": "one"}).json()["data"]
    key = ApiKey.objects.get()
    assert key.digest == secret.hash_key(made["key"])
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT count(*) FROM "{table}" AS row WHERE row::text LIKE %s', [f"%{made['key'][10:]}%"])
            assert cursor.fetchone() == (0,), table


def test_keys_differ(api: Api, alice: Any) -> None:
    assert len({create(api, alice).json()["data"]["key"] for _ in range(5)}) == 5


def test_the_name_has_a_default(api: Api, alice: Any) -> None:
    assert create(api, alice).json()["data"]["name"] == "Default"


def test_active_keys_are_listed_newest_first(api: Api, alice: Any, charlie: Any) -> None:
    ids = [create(api, alice, name=str(n)).json()["data"]["id"] for n in range(4)]
    create(api, charlie)
    api.delete(f"/api-keys/{ids[1]}", headers=api.as_(alice))
    ApiKey.objects.filter(pk=ids[2]).update(expires_at=datetime.now(UTC))
    assert [key["id"] for key in api.get("/api-keys", headers=api.as_(alice)).json()["data"]["keys"]] == [
        ids[3],
        ids[0],
    ]


def test_of_20_parallel_requests_5_make_a_key(api: Api, alice: Any) -> None:
    with ThreadPoolExecutor(20) as pool:
        responses = list(pool.map(lambda _: create(api, alice), range(20)))
    assert sorted(response.status_code for response in responses) == [201] * 5 + [400] * 15
    assert ApiKey.objects.filter(user=alice).count() == 5
    refused = next(response for response in responses if response.status_code == 400)
    assert error(refused) == (400, "key_limit_reached")


def test_a_revoked_or_expired_key_makes_room(api: Api, alice: Any) -> None:
    ids = [create(api, alice).json()["data"]["id"] for _ in range(5)]
    assert create(api, alice).status_code == 400
    api.delete(f"/api-keys/{ids[0]}", headers=api.as_(alice))
    assert create(api, alice).status_code == 201
    ApiKey.objects.filter(pk=ids[1]).update(expires_at=datetime.now(UTC))
    assert create(api, alice).status_code == 201
    assert ApiKey.objects.filter(user=alice).count() == 7


def test_the_limit_is_the_tiers(api: Api, alice: Any) -> None:
    def seen(limit: str) -> bool:
        return api.get("/auth/me", headers=api.as_(alice)).headers["X-RateLimit-Limit"] == limit

    free = Tier.objects.filter(name="free")
    free.update(api_keys=1, requests_per_minute=61)
    try:
        assert until(lambda: seen("61"), 10)
        assert [create(api, alice).status_code for _ in range(2)] == [201, 400]
    finally:
        free.update(api_keys=5, requests_per_minute=60)
    assert until(lambda: seen("60"), 10)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "x" * 65}, "name"),
        ({"name": ""}, "name"),
        ({"name": ["CI"]}, "name"),
        ({"scopes": ["everything"]}, "scopes.0"),
        ({"scopes": []}, "scopes"),
        ({"scopes": "agents"}, "scopes"),
        ({"expiresAt": "2020-01-01T00:00:00Z"}, "expiresAt"),
        ({"expiresAt": "soon"}, "expiresAt"),
    ],
)
def test_bad_input(api: Api, alice: Any, body: dict[str, Any], field: str) -> None:
    response = create(api, alice, **body)
    assert error(response) == (400, "validation_error")
    assert response.json()["fields"][0]["field"] == field
    assert not ApiKey.objects.exists()


class TestIdempotency:
    def test_the_same_request_gives_the_same_key_once(self, api: Api, alice: Any) -> None:
        twice = [create(api, alice, name="CI", headers={"Idempotency-Key": "one"}) for _ in range(2)]
        assert [response.status_code for response in twice] == [201, 201]
        assert twice[0].json() == twice[1].json()
        assert "Idempotency-Replayed" not in twice[0].headers and twice[1].headers["Idempotency-Replayed"] == "true"
        assert ApiKey.objects.count() == 1

    def test_ten_at_once_give_one_key(self, api: Api, alice: Any) -> None:
        with ThreadPoolExecutor(10) as pool:
            made = list(pool.map(lambda _: create(api, alice, headers={"Idempotency-Key": "one"}).json(), range(10)))
        assert all(body == made[0] for body in made) and ApiKey.objects.count() == 1

    def test_another_body_is_a_conflict(self, api: Api, alice: Any) -> None:
        create(api, alice, name="CI", headers={"Idempotency-Key": "one"})
        response = create(api, alice, name="Laptop", headers={"Idempotency-Key": "one"})
        assert error(response) == (409, "idempotency_conflict")

    def test_a_refused_request_does_not_take_the_key(self, api: Api, alice: Any) -> None:
        ids = [create(api, alice).json()["data"]["id"] for _ in range(5)]
        assert create(api, alice, headers={"Idempotency-Key": "one"}).status_code == 400
        api.delete(f"/api-keys/{ids[0]}", headers=api.as_(alice))
        assert create(api, alice, headers={"Idempotency-Key": "one"}).status_code == 201

    def test_after_a_day_the_seed_is_gone(self, api: Api, alice: Any) -> None:
        first = create(api, alice, headers={"Idempotency-Key": "one"}).json()["data"]["key"]
        IdempotencyKey.objects.update(created_at=datetime.now(UTC) - timedelta(hours=25))
        assert create(api, alice, headers={"Idempotency-Key": "one"}).json()["data"]["key"] != first

    def test_a_secret_that_is_rotated_meanwhile(self, settings: Any) -> None:
        seed = secret.new_seed()
        old = secret.derive_key(seed)
        settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another secret"
        assert secret.derive_key(seed) != old
        assert secret.recover_key(seed, secret.hash_key(old)) == old
        settings.SECRET_KEY_FALLBACKS = []
        assert secret.recover_key(seed, secret.hash_key(old)) is None


class TestRevoke:
    def test_it_works(self, api: Api, alice: Any) -> None:
        made = create(api, alice).json()["data"]
        response = api.delete(f"/api-keys/{made['id']}", headers=api.as_(alice))
        assert response.status_code == 200 and response.json()["data"]["message"]
        refused = api.get("/auth/me", headers={"Authorization": f"Bearer {made['key']}"})
        assert error(refused) == (401, "api_key_invalid")
        assert ApiKey.objects.get().revoked_at  # kept, for the audit

    def test_in_every_process(self, api: Api, impatient: Api, alice: Any) -> None:
        made = create(api, alice).json()["data"]
        headers = {"Authorization": f"Bearer {made['key']}"}
        assert impatient.get("/auth/me", headers=headers).status_code == 200
        api.delete(f"/api-keys/{made['id']}", headers=api.as_(alice))
        assert error(impatient.get("/auth/me", headers=headers)) == (401, "api_key_invalid")

    def test_twice_is_not_found(self, api: Api, alice: Any) -> None:
        key_id = create(api, alice).json()["data"]["id"]
        with ThreadPoolExecutor(4) as pool:
            path = f"/api-keys/{key_id}"
            statuses = list(pool.map(lambda _: api.delete(path, headers=api.as_(alice)).status_code, range(4)))
        assert sorted(statuses) == [200, 404, 404, 404]

    def test_another_users_is_not_found(self, api: Api, alice: Any, charlie: Any) -> None:
        key_id = create(api, alice).json()["data"]["id"]
        assert error(api.delete(f"/api-keys/{key_id}", headers=api.as_(charlie))) == (404, "key_not_found")
        assert ApiKey.objects.get().revoked_at is None

    @pytest.mark.parametrize("name", ["00000000-0000-4000-8000-000000000000", "7", "x"])
    def test_unknown_is_not_found(self, api: Api, alice: Any, name: str) -> None:
        assert api.delete(f"/api-keys/{name}", headers=api.as_(alice)).status_code == 404


def test_the_audit_trail(api: Api, alice: Any) -> None:
    made = create(api, alice).json()["data"]
    api.get("/auth/me", headers={"Authorization": f"Bearer {made['key']}"})
    api.delete(f"/api-keys/{made['id']}", headers=api.as_(alice))
    events = AuditEvent.objects.filter(subject_id=alice.pk).order_by("id")
    assert [event.action for event in events] == ["key.created", "key.used_from_new_address", "key.revoked"]
    assert {event.details["key"] for event in events} == {made["prefix"]}
    assert all(made["key"] not in str(event.details) for event in events)


def test_the_expiry_is_shown(api: Api, alice: Any) -> None:
    moment = timestamp(datetime.now(UTC) + timedelta(days=30))
    assert create(api, alice, expiresAt=moment).json()["data"]["expiresAt"] == moment


def test_a_user_can_create_100_keys_a_day(api: Api, alice: Any, charlie: Any) -> None:
    """Every key and its audit rows are kept: without the limit, 30 keys a minute made 100 MB a day."""
    made = create(api, alice, headers={"Idempotency-Key": "one"}).json()["data"]
    assert api.delete(f"/api-keys/{made['id']}", headers=api.as_(alice)).is_success
    ended = {"user": alice, "scopes": ["agents"], "revoked_at": datetime.now(UTC)}
    ApiKey.objects.bulk_create(ApiKey(digest=str(n), **ended) for n in range(services.MAX_KEYS_PER_DAY - 1))
    refused = create(api, alice)
    assert error(refused) == (429, "rate_limited")
    assert 86_000 < int(refused.headers["Retry-After"]) <= 86_401
    assert create(api, alice, headers={"Idempotency-Key": "one"}).status_code == 201
    assert create(api, charlie).status_code == 201
    ApiKey.objects.filter(user=alice).update(created_at=datetime.now(UTC) - timedelta(days=1, seconds=1))
    assert create(api, alice).status_code == 201
