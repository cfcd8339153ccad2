"""Authentication with API keys, and records of their use."""

from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import AuditEvent, User
from apikeys import key_lookup, services
from apikeys.models import ApiKey, ApiKeyAddress
from lunaos.infra import client_info
from testing.client import Api, answer, error
from testing.loopback.upstream import Upstream


def test_it_works(api: Api, alice: Any, upstream: Upstream) -> None:
    body = {"agent": "code-review", "context": "def add(a, b): return a - b"}
    response = api.post("/agents/execute", json=body, headers=api.with_key(alice))
    assert answer(response) == "Hello world"
    assert response.headers["X-Usage-Used"] == "1"


def test_it_counts_for_its_owners_limit(api: Api, alice: Any) -> None:
    one, other = api.with_key(alice), api.with_key(alice)
    remaining = [
        api.get("/auth/me", headers=headers).headers["X-RateLimit-Remaining"]
        for headers in (one, other, api.as_(alice))
    ]
    assert remaining == ["59", "58", "57"]


@pytest.mark.parametrize(
    "value", ["lnos_live_", "lnos_live_" + "0" * 32, "lnos_live_" + "g" * 32, "lnos_live_" + "0" * 33, "lnos_live_é"]
)
def test_invalid_keys_are_refused(api: Api, value: str) -> None:
    response = api.get("/auth/me", headers={b"Authorization": f"Bearer {value}".encode()})
    assert error(response) == (401, "api_key_invalid")
    assert response.headers["WWW-Authenticate"] == "Bearer"


def test_upper_case_is_another_key(api: Api, alice: Any) -> None:
    header = api.with_key(alice)["Authorization"]
    shouted = "Bearer lnos_live_" + header.removeprefix("Bearer lnos_live_").upper()
    if shouted != header:
        assert error(api.get("/auth/me", headers={"Authorization": shouted})) == (401, "api_key_invalid")


@pytest.mark.parametrize("ended", ["revoked_at", "expires_at"])
def test_a_revoked_or_expired_key_is_refused(api: Api, alice: Any, ended: str) -> None:
    headers = api.with_key(alice, **{ended: datetime.now(UTC)})
    assert error(api.get("/auth/me", headers=headers)) == (401, "api_key_invalid")


def test_a_disabled_owner_is_refused_at_once(api: Api, alice: Any) -> None:
    headers = api.with_key(alice)
    assert api.get("/auth/me", headers=headers).status_code == 200
    User.objects.filter(pk=alice.pk).update(is_active=False)
    assert error(api.get("/auth/me", headers=headers)) == (401, "api_key_invalid")


def test_a_deleted_owners_key_is_refused(api: Api, alice: Any) -> None:
    headers = api.with_key(alice)
    alice.delete()
    assert error(api.get("/auth/me", headers=headers)) == (401, "api_key_invalid")


def test_the_tier_is_the_one_in_the_database(api: Api, alice: Any) -> None:
    headers = api.with_key(alice)
    User.objects.filter(pk=alice.pk).update(tier="team")
    assert api.get("/auth/me", headers=headers).headers["X-RateLimit-Limit"] == "6000"


def test_the_last_use_is_written_once_a_minute(api: Api, alice: Any) -> None:
    headers = api.with_key(alice)
    api.get("/auth/me", headers=headers)
    first = ApiKey.objects.get().last_used_at
    api.get("/auth/me", headers=headers)
    assert first and ApiKey.objects.get().last_used_at == first
    ApiKey.objects.update(last_used_at=datetime.now(UTC) - timedelta(seconds=61))
    api.get("/auth/me", headers=headers)
    again = ApiKey.objects.get().last_used_at
    assert again and again > first
    shown = api.get("/api-keys", headers=api.as_(alice)).json()["data"]["keys"][0]["lastUsedAt"]
    assert datetime.fromisoformat(shown) == again.replace(microsecond=again.microsecond // 1000 * 1000)


def test_a_key_in_use_costs_one_query(api: Api, alice: Any) -> None:
    value = api.with_key(alice)["Authorization"].removeprefix("Bearer ")
    client_info.set_current(address="127.0.0.1", user_agent="")
    key_lookup.authenticate(value)
    with CaptureQueriesContext(connection) as queries:
        assert key_lookup.authenticate(value).user.email == alice.email
    assert len(queries) == 1


def test_that_query_uses_the_index(alice: Any, api: Api) -> None:
    value = api.with_key(alice)["Authorization"].removeprefix("Bearer ")
    client_info.set_current(address="127.0.0.1", user_agent="")
    with CaptureQueriesContext(connection) as queries:
        key_lookup.authenticate(value)
    authenticating = next(query for query in queries if "WHERE digest" in query["sql"])
    ApiKey.objects.bulk_create(  # among a few rows any index is as good
        ApiKey(user=alice, name="one of many", digest=f"{number:064}", scopes=[]) for number in range(1000)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE apikeys_apikey")
        cursor.execute("EXPLAIN " + authenticating["sql"])
        plan = cursor.fetchall()
    assert "apikeys_apikey_digest" in str(plan)


def test_a_dead_key_says_why(api: Api, alice: Any) -> None:
    made = [services.create(user=alice, name="CI") for _ in range(2)]
    now = datetime.now(UTC)
    ApiKey.objects.filter(pk=made[0].key.pk).update(revoked_at=now)
    ApiKey.objects.filter(pk=made[1].key.pk).update(expires_at=now - timedelta(seconds=1))
    reasons = {made[0].secret: "revoked", made[1].secret: "expired", "lnos_live_" + "0" * 32: "unknown"}
    for value, reason in reasons.items():
        refused = api.get("/auth/me", headers={"Authorization": f"Bearer {value}"})
        assert error(refused) == (401, "api_key_invalid")
        assert refused.json()["reason"] == reason
    malformed = api.get("/auth/me", headers={"Authorization": "Bearer lnos_live_abc"})
    assert error(malformed) == (401, "api_key_invalid") and "reason" not in malformed.json()
    User.objects.filter(pk=alice.pk).update(is_active=False)
    assert api.get("/auth/me", headers={"Authorization": f"Bearer {made[0].secret}"}).json()["reason"] == "unknown"


def test_each_new_network_is_audited_once(api: Api, alice: Any) -> None:
    headers = api.with_key(alice)
    for address in ("127.0.0.1", "127.0.0.7", "127.0.0.1", "127.0.0.7"):
        with api.from_address(address) as client:
            assert client.get("/auth/me", headers=headers).status_code == 200
    assert sorted(ApiKeyAddress.objects.values_list("network", flat=True)) == ["127.0.0.1", "127.0.0.7"]
    events = AuditEvent.objects.filter(subject_id=alice.pk, action="key.used_from_new_address")
    assert sorted(event.origin.address for event in events) == ["127.0.0.1", "127.0.0.7"]


def test_the_oldest_networks_of_a_key_are_deleted(alice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_lookup, "MAX_NETWORKS_PER_KEY", 2)
    monkeypatch.setattr(key_lookup, "_seen_networks", OrderedDict())
    keys = [services.create(user=alice, name="CI") for _ in range(2)]
    for network in ("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"):
        client_info.set_current(address=network, user_agent="")
        for key in keys:
            key_lookup.authenticate(key.secret)
    stored = ApiKeyAddress.objects.order_by("pk").values_list("network", flat=True)
    for key in keys:
        assert list(stored.filter(key=key.key)) == ["10.0.0.3", "10.0.0.4"]


@pytest.mark.parametrize(
    ("address", "network"),
    [("10.1.2.3", "10.1.2.3"), ("2001:db8::1:2", "2001:db8::/64"), ("unix", "unix"), ("x" * 99, "x" * 64)],
)
def test_addresses_of_one_network_count_once(address: str, network: str) -> None:
    assert client_info.customer_network(address) == network
