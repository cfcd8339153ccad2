"""PUT and DELETE /providers/{name}/key, GET /providers, and the runs that use the key."""

import json
from typing import Any

import httpx
import pytest

from accounts.auditlog import trail
from accounts.models import AuditEvent
from agents import provider_keys
from agents.models import ProviderKey
from agents.providers import Provider
from runs.models import Run
from testing.client import Api, answer, error, events
from testing.loopback.upstream import Answer, Upstream, completion, delta

KEY = "sk-alices-own-0123456789-wxyz"
OTHER = "sk-bobs-own-9876543210-abcd"


def put(api: Api, user: Any, provider: str = "deepseek", key: Any = KEY) -> httpx.Response:
    return api.put(f"/providers/{provider}/key", json={"key": key}, headers=api.as_(user))


def shown(api: Api, user: Any) -> dict[str, dict[str, Any]]:
    listed = api.get("/providers", headers=api.as_(user)).json()["data"]["providers"]
    return {provider["name"]: provider for provider in listed}


def keys_seen(upstream: Upstream) -> list[str]:
    return [headers["Authorization"].removeprefix("Bearer ") for headers in upstream.headers]


def test_it_works(api: Api, alice: Any, upstream: Upstream) -> None:
    response = put(api, alice)

    assert response.status_code == 200
    provider = response.json()["data"]
    assert provider["ownKey"]["lastFour"] == "wxyz" and provider["ownKey"]["since"].endswith("Z")
    assert provider == shown(api, alice)["deepseek"]
    assert answer(api.execute(alice)) == "Hello world"
    assert keys_seen(upstream) == [KEY]
    run = Run.objects.get(user=alice)
    assert run.own_key
    assert api.get(f"/runs/{run.pk}", headers=api.as_(alice)).json()["data"]["ownKey"] is True


def test_the_list(api: Api, alice: Any) -> None:
    assert shown(api, alice) == {
        "deepseek": {
            "name": "deepseek",
            "configured": True,
            "default": True,
            "models": ["deepseek-chat", "deepseek-reasoner"],
            "takesOwnKeys": True,
            "ownKey": None,
        },
        "anthropic": {
            "name": "anthropic",
            "configured": False,
            "default": False,
            "models": ["claude-sonnet-4-20250514"],
            "takesOwnKeys": True,
            "ownKey": None,
        },
        "openai": {
            "name": "openai",
            "configured": True,
            "default": False,
            "models": ["gpt-4o", "gpt-4o-mini"],
            "takesOwnKeys": True,
            "ownKey": None,
        },
        "local": {
            "name": "local",
            "configured": shown(api, alice)["local"]["configured"],
            "default": False,
            "models": ["smollm2-135m-instruct"],
            "takesOwnKeys": False,
            "ownKey": None,
        },
    }


def test_without_a_key_the_servers_is_used(api: Api, alice: Any, upstream: Upstream) -> None:
    api.execute(alice)
    assert keys_seen(upstream) == ["sk-planted-deepseek-secret"]
    assert not Run.objects.get(user=alice).own_key


def test_a_key_is_used_for_its_owner_only(api: Api, alice: Any, bob: Any, charlie: Any, upstream: Upstream) -> None:
    put(api, alice)
    put(api, bob, key=OTHER)
    for user in (alice, bob, charlie, alice):
        assert answer(api.execute(user)) == "Hello world"
    assert keys_seen(upstream) == [KEY, OTHER, "sk-planted-deepseek-secret", KEY]
    assert shown(api, charlie)["deepseek"]["ownKey"] is None
    assert error(api.delete("/providers/deepseek/key", headers=api.as_(charlie))) == (404, "provider_key_not_found")
    assert shown(api, alice)["deepseek"]["ownKey"]["lastFour"] == "wxyz"


def test_a_key_is_used_for_its_provider_only(api: Api, alice: Any, upstream: Upstream) -> None:
    put(api, alice, "openai")
    api.execute(alice, provider="deepseek")
    api.execute(alice, provider="openai")
    assert keys_seen(upstream) == ["sk-planted-deepseek-secret", KEY]


def test_it_opens_a_provider_that_the_server_has_no_key_for(
    api: Api, alice: Any, charlie: Any, upstream: Upstream
) -> None:
    put(api, alice, "anthropic")
    start = events(api.execute(alice, provider="anthropic"))[0]
    assert (start["provider"], start["model"]) == ("anthropic", "claude-sonnet-4-20250514")
    assert keys_seen(upstream) == [KEY]
    assert error(api.execute(charlie, provider="anthropic")) == (503, "provider_not_configured")


def test_a_model_named_alone_finds_it_too(api: Api, alice: Any, upstream: Upstream) -> None:
    put(api, alice, "anthropic")
    assert events(api.execute(alice, model="claude-sonnet-4-20250514"))[0]["provider"] == "anthropic"


def test_a_new_key_replaces_the_old_one(api: Api, alice: Any, upstream: Upstream) -> None:
    put(api, alice)
    put(api, alice, key=OTHER)
    assert ProviderKey.objects.filter(user=alice).count() == 1
    assert shown(api, alice)["deepseek"]["ownKey"]["lastFour"] == "abcd"
    api.execute(alice)
    assert keys_seen(upstream) == [OTHER]


def test_a_removed_key_is_not_used(api: Api, alice: Any, upstream: Upstream) -> None:
    put(api, alice)
    response = api.delete("/providers/deepseek/key", headers=api.as_(alice))
    assert response.status_code == 200 and response.json()["data"]["message"]
    assert shown(api, alice)["deepseek"]["ownKey"] is None
    api.execute(alice)
    assert keys_seen(upstream) == ["sk-planted-deepseek-secret"]
    assert error(api.delete("/providers/deepseek/key", headers=api.as_(alice))) == (404, "provider_key_not_found")


NO_KEYS: list[Any] = [
    *("", "short", "x" * 257, "sk with spaces in it", "sk-tab\there-0123", "sk-line-0123456789\n", "sk-größe-0123"),
    *("\0" * 9, None, 12345678.5, {"a": 1}, ["sk-0123456789"]),
]


@pytest.mark.parametrize("key", NO_KEYS)
def test_invalid_keys_are_rejected(api: Api, alice: Any, key: Any) -> None:
    response = put(api, alice, key=key)
    assert error(response) == (400, "validation_error")
    assert {entry["field"] for entry in response.json()["fields"]} == {"key"}
    assert not isinstance(key, str) or len(key) < 8 or key not in response.text
    assert not ProviderKey.objects.exists()


@pytest.mark.parametrize("length", [8, 256])
def test_the_shortest_and_the_longest(api: Api, alice: Any, upstream: Upstream, length: int) -> None:
    key = "!~" * (length // 2)
    assert put(api, alice, key=key).status_code == 200
    assert answer(api.execute(alice)) == "Hello world"
    assert keys_seen(upstream) == [key]


def test_the_host_is_never_the_users_choice(api: Api, alice: Any, upstream: Upstream) -> None:
    hosts = {"base_url": "http://127.0.0.1:9/v1", "baseUrl": "http://127.0.0.1:9/v1"}
    refused = api.put("/providers/deepseek/key", json={"key": KEY, **hosts}, headers=api.as_(alice))
    assert [fault["field"] for fault in refused.json()["fields"]] == [*hosts]
    assert error(api.execute(alice, **hosts)) == (400, "validation_error")
    assert upstream.requests == []


def test_an_unknown_provider_is_an_error(api: Api, alice: Any) -> None:
    for response in (put(api, alice, "acme"), api.delete("/providers/acme/key", headers=api.as_(alice))):
        assert error(response) == (400, "unknown_provider")
        assert response.json()["available"] == ["deepseek", "anthropic", "openai", "local"]


def test_the_embedded_provider_accepts_no_keys(api: Api, alice: Any) -> None:
    """Any key would open a server that asks for none, and free executions with it."""
    assert error(put(api, alice, "local")) == (400, "provider_takes_no_key")
    assert not ProviderKey.objects.exists()


def test_without_credentials(api: Api) -> None:
    assert error(api.get("/providers")) == (401, "not_authenticated")
    assert error(api.put("/providers/deepseek/key", json={"key": KEY})) == (401, "not_authenticated")
    assert error(api.delete("/providers/deepseek/key")) == (401, "not_authenticated")


# -- What the provider says of it --------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403])
def test_a_rejected_key_is_reported_and_not_charged(api: Api, alice: Any, upstream: Upstream, status: int) -> None:
    put(api, alice)
    upstream.respond_with(
        Answer(status=status, body=json.dumps({"error": {"message": f"Incorrect key: {KEY}"}}).encode())
    )
    response = api.execute(alice)
    assert error(response) == (400, "provider_key_rejected")
    assert KEY not in response.text
    assert keys_seen(upstream) == [KEY]  # once, and the server's is no stand-in
    run = Run.objects.get(user=alice)
    assert (run.status, run.error_code, run.charge) == ("failed", "provider_key_rejected", "exempt")


def test_a_rejected_key_is_given_back_to_pro(api: Api, bob: Any, upstream: Upstream) -> None:
    put(api, bob)
    upstream.respond_with(Answer(status=401))
    assert error(api.execute(bob)) == (400, "provider_key_rejected")
    assert Run.objects.get(user=bob).charge == "released"


@pytest.mark.parametrize(
    ("status", "expected"),
    [(400, (502, "provider_error")), (402, (400, "provider_quota_exhausted")), (429, (503, "provider_unavailable"))],
)
def test_other_faults_are_as_with_the_servers(
    api: Api, alice: Any, upstream: Upstream, status: int, expected: tuple[int, str]
) -> None:
    put(api, alice)
    upstream.respond_with(Answer(status=status))
    assert error(api.execute(alice)) == expected
    assert set(keys_seen(upstream)) == {KEY}


def test_there_is_no_fallback_from_an_own_key(impatient: Api, alice: Any, upstream: Upstream) -> None:
    """This server falls back from deepseek to openai, on its own key."""
    put(impatient, alice)
    upstream.script = lambda asked: (
        Answer(status=503) if asked["model"] == "deepseek-chat" else completion("from openai")
    )
    assert error(impatient.execute(alice)) == (503, "provider_unavailable")
    assert set(keys_seen(upstream)) == {KEY}


def test_there_is_no_fallback_to_an_own_key(impatient: Api, alice: Any, upstream: Upstream) -> None:
    put(impatient, alice, "openai")
    upstream.script = lambda asked: (
        Answer(status=503) if asked["model"] == "deepseek-chat" else completion("from openai")
    )
    assert answer(impatient.execute(alice)) == "from openai"
    assert KEY not in keys_seen(upstream)
    assert not Run.objects.get(user=alice).own_key


# -- At rest -----------------------------------------------------------------------------------------------------------


def test_it_is_kept_encrypted(api: Api, alice: Any) -> None:
    put(api, alice)
    row = ProviderKey.objects.values().get(user=alice)
    assert KEY not in str(row) and row["last_four"] == "wxyz"
    assert row["sealed"].startswith("gAAAA")


def test_a_key_that_cannot_be_decrypted_is_reported(api: Api, alice: Any, upstream: Upstream) -> None:
    put(api, alice)
    ProviderKey.objects.filter(user=alice).update(sealed="gAAAAA" + "x" * 100)
    response = api.execute(alice)
    assert error(response) == (409, "provider_key_unreadable")
    assert upstream.requests == []  # the server's is no stand-in
    assert not Run.objects.filter(user=alice).exists()
    assert shown(api, alice)["deepseek"]["ownKey"]["lastFour"] == "wxyz"
    put(api, alice)
    assert answer(api.execute(alice)) == "Hello world"


def test_a_key_that_was_moved_to_another_user_opens_nothing(
    api: Api, alice: Any, charlie: Any, upstream: Upstream
) -> None:
    put(api, alice)
    put(api, charlie, key=OTHER)
    ProviderKey.objects.filter(user=charlie).update(sealed=ProviderKey.objects.get(user=alice).sealed)
    assert error(api.execute(charlie)) == (409, "provider_key_unreadable")
    assert upstream.requests == []


def test_a_key_that_was_moved_to_another_provider_opens_nothing(api: Api, alice: Any, upstream: Upstream) -> None:
    put(api, alice)
    ProviderKey.objects.filter(user=alice).update(provider="openai")
    assert error(api.execute(alice, provider="openai")) == (409, "provider_key_unreadable")


def test_a_key_is_deleted_with_its_owner(api: Api, alice: Any) -> None:
    put(api, alice)
    alice.delete()
    assert not ProviderKey.objects.exists()


def test_it_is_in_no_repr(alice: Any) -> None:
    provider_keys.set_key(user=alice, provider="anthropic", key=KEY)
    ring = provider_keys.keyring(alice.pk)
    equipped = ring.with_user_key(Provider("anthropic", "http://127.0.0.1/v1", ""))
    assert equipped.api_key == KEY and equipped.own_key
    texts = (repr(each) + str(each) for each in (ring, equipped, ProviderKey.objects.get(user=alice)))
    assert not any(KEY in text or "gAAAA" in text for text in texts)


def test_the_trail(api: Api, alice: Any) -> None:
    put(api, alice)
    api.delete("/providers/deepseek/key", headers=api.as_(alice))
    rows = AuditEvent.objects.filter(subject_id=alice.pk).order_by("id")
    details = {"provider": "deepseek", "last_four": "wxyz"}
    assert [(row.action, row.actor_id, row.details) for row in rows] == [
        (trail.Action.PROVIDER_KEY_SET, alice.pk, details),
        (trail.Action.PROVIDER_KEY_REMOVED, alice.pk, details),
    ]


def test_staff_see_the_owner_and_delete_the_key(staff: httpx.Client, api: Api, alice: Any) -> None:
    put(api, alice)
    own = ProviderKey.objects.get(user=alice)
    for path in ("/admin/agents/providerkey/", f"/admin/agents/providerkey/{own.pk}/change/"):
        page = staff.get(path)
        assert page.status_code == 200 and "wxyz" in page.text and alice.email in page.text
        assert own.sealed not in page.text and KEY not in page.text
    assert staff.get("/admin/agents/providerkey/add/").status_code == 403
    page = staff.get(f"/admin/agents/providerkey/{own.pk}/delete/")
    form = {"post": "yes", "csrfmiddlewaretoken": page.text.split('csrfmiddlewaretoken" value="')[1].split('"')[0]}
    assert staff.post(f"/admin/agents/providerkey/{own.pk}/delete/", data=form).status_code == 200
    assert not ProviderKey.objects.exists()


# -- Many keys ---------------------------------------------------------------------------------------------------------


def test_nothing_passes_from_one_users_request_to_anothers(api: Api, alice: Any, bob: Any, upstream: Upstream) -> None:
    put(api, alice)
    put(api, bob, key=OTHER)
    upstream.script = lambda asked: Answer(
        pieces=[delta("a", "stop"), b"data: [DONE]\n\n"], headers={"Set-Cookie": "who=alice; Path=/"}
    )
    api.execute(alice)
    api.execute(bob)
    assert keys_seen(upstream) == [KEY, OTHER]
    assert all("Cookie" not in headers for headers in upstream.headers)


def test_nothing_of_the_operators_account_goes_along(api: Api, alice: Any, upstream: Upstream) -> None:
    """OpenAI's client would send its organization and project from the environment; these headers are all there is."""
    put(api, alice)
    api.execute(alice)
    sent = {name.lower() for name in upstream.headers[-1]}
    assert sent == {
        *("host", "content-type", "content-length", "authorization", "user-agent"),
        *("accept", "accept-encoding"),
    }
