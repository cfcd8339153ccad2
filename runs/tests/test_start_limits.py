"""Limits on runs at once and starts per hour, exact for parallel starts."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F

from accounts.idempotency import RequestKey
from billing.errors import QuotaExceeded
from billing.models import MonthlyUsage
from lunaos.errors import LunaError, RateLimited
from runs import outcomes
from runs import services as run_services
from runs.errors import ConcurrencyLimitReached
from runs.models import HourlyStarts, Run, Status
from runs.recovery import leases
from testing.client import Api, error
from testing.loopback.upstream import Upstream

ENDS = (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED, Status.INTERRUPTED)


def create_run(user: Any, **fields: Any) -> Run:
    fields = {"agent": "run", "provider": "deepseek", "model": "m", "text": "in", "request_id": "r", **fields}
    return run_services.create(user=user, **fields).run


def end_run(run: Run, status: Status = Status.FAILED) -> bool:
    return outcomes.finish(run, outcomes.Outcome(status, "deepseek", "m"))


def start_in_parallel(user: Any, number: int = 40) -> list[Run | LunaError]:
    """Return the results of so many parallel starts."""

    def start(_: int) -> Run | LunaError:
        try:
            return create_run(user)
        except LunaError as e:
            return e
        finally:
            connection.close()

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(start, range(number)))


def count_starts(user: Any) -> int:
    return sum(MonthlyUsage.objects.filter(user=user).values_list("executions", flat=True))


def test_40_parallel_starts_fill_exactly_the_free_places(alice: Any, bounds: Any) -> None:
    bounds("free", executions_at_once=3)
    found = start_in_parallel(alice)
    started = {str(run.pk) for run in found if isinstance(run, Run)}
    refused = [e for e in found if isinstance(e, ConcurrencyLimitReached)]

    assert (len(started), len(refused)) == (3, 37)
    assert all(set(e.extra["running"]) == started for e in refused)
    assert (
        count_starts(alice)
        == Run.objects.filter(user=alice).count()
        == HourlyStarts.objects.get(user=alice).starts
        == 3
    )


def test_the_refusal(api: Api, bob: Any) -> None:
    running = [str(create_run(bob).pk) for _ in range(10)]
    response = api.execute(bob)
    assert error(response) == (429, "concurrency_limit_reached")
    assert int(response.headers["Retry-After"]) > 0
    body = response.json()
    assert (body["running"], body["limit"], body["tier"]) == (running, 10, "pro")


def test_chains_and_agents_share_the_places(api: Api, bob: Any) -> None:
    for n in range(10):
        create_run(bob, **({"agent": "", "chain": "custom", "status": Status.QUEUED} if n % 2 else {}))
    assert error(api.execute_chain(bob, "code-review", "documentation")) == (429, "concurrency_limit_reached")


def test_the_quota_wins_where_both_apply(alice: Any, bounds: Any) -> None:
    bounds("free", executions_at_once=1)
    create_run(alice)
    MonthlyUsage.objects.filter(user=alice).update(executions=100)
    with pytest.raises(QuotaExceeded):
        create_run(alice)


def test_exempt_runs_take_places(alice: Any, bounds: Any) -> None:
    bounds("free", executions_at_once=2)
    create_run(alice, own_key=True)
    create_run(alice)
    for own_key in (True, False):
        with pytest.raises(ConcurrencyLimitReached):
            create_run(alice, own_key=own_key)


def test_owners_have_separate_limits(alice: Any, charlie: Any, bounds: Any) -> None:
    bounds("free", executions_at_once=1)
    create_run(alice)
    assert create_run(charlie)


def test_a_replay_takes_no_place(alice: Any, bounds: Any) -> None:
    bounds("free", executions_at_once=1)
    idempotency_key = RequestKey("key", "digest")
    assert (
        create_run(alice, idempotency_key=idempotency_key).pk == create_run(alice, idempotency_key=idempotency_key).pk
    )


def test_a_refused_start_leaves_its_idempotency_key_free(alice: Any, bounds: Any) -> None:
    bounds("free", executions_at_once=1)
    first, idempotency_key = create_run(alice), RequestKey("key", "digest")
    with pytest.raises(ConcurrencyLimitReached):
        create_run(alice, idempotency_key=idempotency_key)
    end_run(first)
    assert create_run(alice, idempotency_key=idempotency_key)


@pytest.mark.parametrize("status", ENDS)
def test_every_end_of_a_run_frees_its_place_once(alice: Any, bounds: Any, status: Status) -> None:
    bounds("free", executions_at_once=2)
    first, second = create_run(alice), create_run(alice)
    assert end_run(first, status)
    assert not end_run(first, status)
    third = create_run(alice)
    with pytest.raises(ConcurrencyLimitReached) as refusal:
        create_run(alice)
    assert refusal.value.extra["running"] == [str(second.pk), str(third.pk)]


def test_a_cancelled_chain_that_waited_gives_its_place_back(alice: Any, bounds: Any) -> None:
    bounds("free", executions_at_once=1)
    waiting = create_run(alice, agent="", chain="custom", status=Status.QUEUED, attempt=0)
    run_services.cancel(waiting)
    assert create_run(alice)


def test_an_abandoned_run_gives_its_place_back(alice: Any, bounds: Any) -> None:
    bounds("free", executions_at_once=1)
    Run.objects.filter(pk=create_run(alice).pk).update(heartbeat_at=F("heartbeat_at") - timedelta(hours=1))
    assert outcomes.end_abandoned(60) == 1
    assert create_run(alice)


def test_a_chain_between_two_workers_keeps_its_place(alice: Any, bounds: Any) -> None:
    bounds("free", executions_at_once=1)
    chain = create_run(alice, agent="", chain="custom", attempt=1)
    assert leases.release(chain, None)
    with pytest.raises(ConcurrencyLimitReached):
        create_run(alice)


def test_40_parallel_starts_use_exactly_the_hours_limit(alice: Any, bounds: Any) -> None:
    bounds("free", starts_per_hour=7)
    found = start_in_parallel(alice)
    assert sum(isinstance(each, Run) for each in found) == 7
    assert sum(isinstance(each, RateLimited) for each in found) == 33


def test_starts_on_own_keys_that_fail_count(alice: Any, bounds: Any) -> None:
    bounds("free", starts_per_hour=5)
    for _ in range(5):
        end_run(create_run(alice, own_key=True))
    with pytest.raises(RateLimited) as refusal:
        create_run(alice, own_key=True)
    assert (refusal.value.extra["limit"], refusal.value.extra["tier"]) == (5, "free")
    assert refusal.value.retry_after and 0 < refusal.value.retry_after <= 3601


def test_the_hour_refuses_over_http(api: Api, alice: Any, upstream: Upstream) -> None:
    end_run(create_run(alice))
    HourlyStarts.objects.filter(user=alice).update(starts=100)
    response = api.execute(alice)
    assert error(response) == (429, "rate_limited")
    assert int(response.headers["Retry-After"]) > 0
    assert response.json()["upgradeUrl"].startswith("http")


def test_a_new_hour_begins_at_nothing(alice: Any) -> None:
    end_run(create_run(alice))
    HourlyStarts.objects.filter(user=alice).update(starts=100, hour=F("hour") - timedelta(hours=1))
    create_run(alice)
    assert HourlyStarts.objects.get(user=alice).starts == 1


def test_the_month_wins_over_the_hour(alice: Any) -> None:
    create_run(alice)
    HourlyStarts.objects.filter(user=alice).update(starts=100)
    MonthlyUsage.objects.filter(user=alice).update(executions=100)
    with pytest.raises(QuotaExceeded):
        create_run(alice)
