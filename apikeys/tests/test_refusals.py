"""Refused requests leave a row for owner and key, a second later; the answers are as before."""

from datetime import UTC, datetime
from typing import Any

import pytest

from accounts.models import User
from apikeys.models import ApiKey
from lunaos.embedded.servers import until
from refusals.models import Refusal
from testing.client import Api, error
from testing.loopback.upstream import Upstream

EXECUTION = {"agent": "code-review", "context": "x"}


def written(requests: int) -> list[Refusal]:
    """Return the rows once they count so many requests."""
    assert until(lambda: sum(Refusal.objects.values_list("count", flat=True)) >= requests, 5)
    return list(Refusal.objects.order_by("code"))


def test_it_works(api: Api, alice: Any, upstream: Upstream) -> None:
    """A run that the tier does not include, with a key and with a token."""
    body = {"agent": "docker", "context": "x"}
    headers = api.with_key(alice)
    for number in range(3):
        refused = api.post("/agents/execute", json=body, headers={**headers, "X-Request-Id": f"try-{number}"})
        assert error(refused) == (403, "pro_required")
    api.post("/agents/execute", json=body, headers=api.as_(alice))
    with_key, with_token = sorted(written(4), key=lambda row: row.key_prefix, reverse=True)
    key = ApiKey.objects.get()
    assert (with_key.user, with_key.key_id, with_key.key_prefix) == (alice, key.pk, key.prefix)
    assert (with_key.count, with_key.first_request_id, with_key.last_request_id) == (3, "try-0", "try-2")
    assert with_key.message.startswith("Docker Agent is part of the Pro plan.")
    assert (with_token.user, with_token.key_id, with_token.count) == (alice, None, 1)


def test_a_scope(api: Api, alice: Any) -> None:
    assert error(api.get("/runs", headers=api.with_key(alice, "rag"))) == (403, "scope_missing")
    [row] = written(1)
    assert (row.code, row.message) == ("scope_missing", "This key lacks the scope agents or chains.")


@pytest.mark.parametrize(
    ("ended", "reason"), [("revoked_at", "The API key was revoked."), ("expires_at", "The API key has expired.")]
)
def test_a_dead_key(api: Api, alice: Any, ended: str, reason: str) -> None:
    headers = api.with_key(alice, **{ended: datetime.now(UTC)})
    assert error(api.get("/auth/me", headers={**headers, "X-Request-Id": "late"})) == (401, "api_key_invalid")
    [row] = written(1)
    assert (row.user, row.key_id, row.code) == (alice, ApiKey.objects.get().pk, "api_key_invalid")
    assert row.message.startswith(reason) and row.first_request_id == "late"


def test_a_key_of_a_disabled_account(api: Api, alice: Any) -> None:
    headers = api.with_key(alice)
    User.objects.filter(pk=alice.pk).update(is_active=False)
    api.get("/auth/me", headers=headers)
    [row] = written(1)
    assert row.code == "api_key_invalid" and row.message.startswith("The account of the key is disabled.")


def test_the_month_is_used_up(api: Api, alice: Any, bounds: Any, upstream: Upstream) -> None:
    api.execute(alice)
    bounds("free", executions=1)
    assert until(lambda: api.execute(alice).status_code == 403, 12, every=0.5)
    [row] = written(1)
    assert row.code == "quota_exceeded" and row.message.startswith("All 1 executions of the free tier are used.")


def test_a_provider_without_a_key(api: Api, bob: Any) -> None:
    body = {**EXECUTION, "provider": "anthropic"}
    assert error(api.post("/agents/execute", json=body, headers=api.as_(bob))) == (503, "provider_not_configured")
    [row] = written(1)
    assert row.code == "provider_not_configured" and "PUT /providers/anthropic/key" in row.message


def test_too_many_requests(api: Api, alice: Any) -> None:
    headers = api.with_key(alice)
    statuses = [api.get("/auth/me", headers=headers).status_code for _ in range(65)]
    refused = statuses.count(429)
    rows = written(refused)
    assert {row.code for row in rows} == {"rate_limited"} and sum(row.count for row in rows) == refused


def test_these_leave_no_row(api: Api, alice: Any, upstream: Upstream) -> None:
    """Unknown keys and tokens, wrong input, and what works."""
    for credential in ("lnos_live_" + "0" * 32, "lnos_live_x", "garbage"):
        assert api.get("/auth/me", headers={"Authorization": f"Bearer {credential}"}).status_code == 401
    headers = api.with_key(alice)
    assert api.post("/agents/execute", json={}, headers=headers).status_code == 400
    assert api.post("/agents/execute", json=EXECUTION, headers=headers).status_code == 200
    api.get("/runs", headers=api.with_key(alice, "rag"))  # the last one, which is written with all before
    assert [row.code for row in written(1)] == ["scope_missing"]
