"""Chains on a user's own provider key, which the worker reads at the start of a step."""

import subprocess
import threading
from typing import Any

import pytest

from agents import provider_keys
from lunaos.infra import redis
from runs.models import Run, RunText
from testing.client import Api, answer, error, events, parse
from testing.loopback.upstream import Answer, Upstream, completion

pytestmark = pytest.mark.usefixtures("chains_worker")
FREE = ("code-review", "testing-validation", "documentation")
KEY, OTHER = "sk-alices-own-0123456789", "sk-alices-new-9876543210"
SERVERS = "sk-planted-deepseek-secret"


def add_key(user: Any, key: str = KEY, provider: str = "deepseek") -> None:
    provider_keys.set_key(user=user, provider=provider, key=key)


def keys_seen(upstream: Upstream) -> list[str]:
    return [headers["Authorization"].removeprefix("Bearer ") for headers in upstream.headers]


def test_it_works(api: Api, alice: Any, upstream: Upstream) -> None:
    add_key(alice)
    response = api.execute_chain(alice, *FREE)
    assert events(response)[-1]["type"] == "chain_done"
    assert keys_seen(upstream) == [KEY] * 3
    assert Run.objects.get(user=alice).own_key


def test_a_provider_that_the_server_has_no_key_for(api: Api, alice: Any, upstream: Upstream) -> None:
    add_key(alice, provider="anthropic")
    assert "Hello world" in answer(api.execute_chain(alice, *FREE, provider="anthropic"))
    assert keys_seen(upstream) == [KEY] * 3


def test_without_an_own_key_the_servers_key_is_used(api: Api, alice: Any, upstream: Upstream) -> None:
    api.execute_chain(alice, *FREE)
    assert keys_seen(upstream) == [SERVERS] * 3
    assert not Run.objects.get(user=alice).own_key


def test_the_key_is_in_nothing_that_the_run_leaves(
    api: Api, alice: Any, upstream: Upstream, chains_worker: "subprocess.Popen[bytes]"
) -> None:
    add_key(alice)
    response = api.execute_chain(alice, *FREE)
    run = Run.objects.get(user=alice)
    kept = [str(vars(run)), str(vars(RunText.objects.get(run_id=run.pk))), response.text, str(response.headers)]
    kept += [str(redis.client().dump(name)) for name in redis.client().scan_iter()]
    assert not any(KEY in text for text in kept)


def change_later(change: Any, user: Any, **key: str) -> None:
    """Run outside the provider's event loop, in which Django refuses queries."""
    thread = threading.Thread(target=lambda: change(user=user, provider="deepseek", **key))
    thread.start()
    thread.join(10)


def changed_during_step_1(api: Api, user: Any, upstream: Upstream, change: Any) -> list[dict[str, Any]]:
    """Return the events of a chain; `meanwhile` runs during its first step."""

    def script(asked: dict[str, Any]) -> Answer:
        if len(upstream.requests) == 1:
            change()
        return completion("found")

    upstream.script = script
    return events(api.execute_chain(user, *FREE))


def test_a_key_that_is_replaced_counts_from_the_next_step_on(api: Api, alice: Any, upstream: Upstream) -> None:
    add_key(alice)
    told = changed_during_step_1(api, alice, upstream, lambda: change_later(provider_keys.set_key, alice, key=OTHER))
    assert told[-1]["type"] == "chain_done"
    assert keys_seen(upstream) == [KEY, OTHER, OTHER]


def test_a_removed_key_ends_the_chain_without_fallback_to_the_servers_key(
    api: Api, alice: Any, upstream: Upstream
) -> None:
    add_key(alice)
    told = changed_during_step_1(api, alice, upstream, lambda: change_later(provider_keys.remove_key, alice))
    assert (told[-1]["type"], told[-1]["code"]) == ("error", "provider_key_not_found")
    assert keys_seen(upstream) == [KEY]


def test_a_key_added_later_is_not_used_for_chains_under_way(api: Api, alice: Any, upstream: Upstream) -> None:
    told = changed_during_step_1(api, alice, upstream, lambda: change_later(provider_keys.set_key, alice, key=KEY))
    assert told[-1]["type"] == "chain_done"
    assert keys_seen(upstream) == [SERVERS] * 3


def test_a_rejected_key_ends_the_chain_with_its_status(api: Api, alice: Any, upstream: Upstream) -> None:
    add_key(alice)
    upstream.respond_with(Answer(status=401))
    assert error(api.execute_chain(alice, *FREE)) == (400, "provider_key_rejected")
    assert Run.objects.get(user=alice).error_code == "provider_key_rejected"


def test_an_unreadable_key_is_refused_before_the_start(api: Api, alice: Any, upstream: Upstream, settings: Any) -> None:
    settings.ENCRYPTION_KEYS = ["x" * 43 + "="]
    add_key(alice)
    assert error(api.execute_chain(alice, *FREE)) == (409, "provider_key_unreadable")
    assert upstream.requests == [] and not Run.objects.filter(user=alice).exists()


# -- Resumed -----------------------------------------------------------------------------------------------------------


def failed_in_step_2(api: Api, user: Any, upstream: Upstream) -> Run:
    upstream.respond_with(completion("found"), Answer(status=401))
    run = Run.objects.get(pk=api.execute_chain(user, *FREE).headers["X-Run-Id"])
    assert run.status == "failed"
    upstream.respond_with(completion("tested"))
    upstream.headers.clear()
    return run


def resume(api: Api, user: Any, run: Run) -> list[dict[str, Any]]:
    response = api.post(f"/runs/{run.pk}/resume", headers=api.as_(user))
    assert response.status_code == 200, response.text
    run.refresh_from_db()
    return parse(response.text)[1]


def test_a_resumed_chain_uses_the_current_key(api: Api, alice: Any, upstream: Upstream) -> None:
    add_key(alice)
    run = failed_in_step_2(api, alice, upstream)
    add_key(alice, OTHER)
    assert resume(api, alice, run)[-1]["type"] == "chain_done"
    assert keys_seen(upstream) == [OTHER] * 2 and run.own_key


def test_a_chain_whose_key_was_removed_resumes_on_the_servers_key(api: Api, alice: Any, upstream: Upstream) -> None:
    add_key(alice)
    run = failed_in_step_2(api, alice, upstream)
    provider_keys.remove_key(user=alice, provider="deepseek")
    assert resume(api, alice, run)[-1]["type"] == "chain_done"
    assert keys_seen(upstream) == [SERVERS] * 2 and not run.own_key


def test_a_chain_whose_owner_added_a_key_resumes_on_it(api: Api, alice: Any, upstream: Upstream) -> None:
    run = failed_in_step_2(api, alice, upstream)
    add_key(alice)
    assert resume(api, alice, run)[-1]["type"] == "chain_done"
    assert keys_seen(upstream) == [KEY] * 2 and run.own_key


def test_without_any_key_the_chain_stays_failed(api: Api, alice: Any, upstream: Upstream) -> None:
    add_key(alice, provider="anthropic")
    upstream.respond_with(Answer(status=401))
    run_id = api.execute_chain(alice, *FREE, provider="anthropic").headers["X-Run-Id"]
    provider_keys.remove_key(user=alice, provider="anthropic")
    assert error(api.post(f"/runs/{run_id}/resume", headers=api.as_(alice))) == (503, "provider_not_configured")
    assert Run.objects.get(pk=run_id).status == "failed"
