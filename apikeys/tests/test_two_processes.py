"""No process keeps a credential, a user, a tier or a quota between two requests: what one changes, the other sees."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from accounts.signin import sessions
from billing import grants
from billing.models import MonthlyUsage
from testing.client import Api, error
from testing.loopback.upstream import Upstream
from testing.servers import daphne


@pytest.fixture(scope="module")
def other_server(
    django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory, provider_environment: Any
) -> Iterator[str]:
    log: Path = tmp_path_factory.mktemp("other") / "web.log"
    with django_db_blocker.unblock(), daphne(log, "/ready", **provider_environment) as url:
        yield url


@pytest.fixture
def other(other_server: str) -> Iterator[Api]:
    """Return a client of a second web process on the same database and Valkey."""
    with Api(base_url=other_server, timeout=30) as client:
        yield client


def test_a_revoked_key(api: Api, other: Api, alice: Any) -> None:
    key = api.post("/api-keys", json={"name": "CI"}, headers=api.as_(alice)).json()["data"]
    headers = {"Authorization": f"Bearer {key['key']}"}
    assert other.get("/auth/me", headers=headers).status_code == 200
    assert api.delete(f"/api-keys/{key['id']}", headers=api.as_(alice)).status_code == 200
    assert error(other.get("/auth/me", headers=headers)) == (401, "api_key_invalid")


def test_ended_sessions(api: Api, other: Api, alice: Any) -> None:
    headers = api.as_(alice)
    assert other.get("/auth/me", headers=headers).status_code == 200
    sessions.end_all(alice)
    assert error(other.get("/auth/me", headers=headers)) == (401, "token_invalid")


def test_a_disabled_account(api: Api, other: Api, alice: Any) -> None:
    headers = api.as_(alice)
    assert other.get("/auth/me", headers=headers).status_code == 200
    type(alice).objects.filter(pk=alice.pk).update(is_active=False)
    assert other.get("/auth/me", headers=headers).status_code == 401


def test_a_tier(api: Api, other: Api, alice: Any, upstream: Upstream) -> None:
    headers, body = api.as_(alice), {"agent": "docker", "context": "x"}
    for _ in range(2):
        assert error(other.post("/agents/execute", json=body, headers=headers)) == (403, "pro_required")
        grants.set_tier(user=alice, tier="pro")
        assert other.post("/agents/execute", json=body, headers=headers).status_code == 200
        grants.set_tier(user=alice, tier="free")


def test_a_used_up_month(api: Api, other: Api, alice: Any, upstream: Upstream) -> None:
    headers, body = api.as_(alice), {"agent": "code-review", "context": "x"}
    assert other.post("/agents/execute", json=body, headers=headers).status_code == 200
    month = datetime.now(UTC).date().replace(day=1)
    MonthlyUsage.objects.filter(user=alice, month=month).update(executions=100)
    assert error(other.post("/agents/execute", json=body, headers=headers)) == (403, "quota_exceeded")
