"""Resumed chains count as starts, and waiting chains are claimed fairly between owners."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from billing.models import MonthlyUsage
from chains import services
from lunaos.errors import RateLimited
from runs import outcomes
from runs import services as run_services
from runs.errors import ConcurrencyLimitReached
from runs.models import Run, Status
from runs.recovery import leases


def create_chain(user: Any, **fields: Any) -> Run:
    fields = {"chain": "custom", "steps": ["code-review"], "provider": "deepseek", "model": "m", **fields}
    return run_services.create(user=user, text="in", request_id="r", **fields).run


def fail(chain: Run) -> None:
    outcomes.finish(chain, outcomes.Outcome(Status.FAILED, "deepseek", "m"))
    chain.refresh_from_db()


def test_a_resumed_chain_takes_a_place_and_counts_as_a_start(alice: Any, bounds: Any) -> None:
    bounds("free", executions_at_once=1, starts_per_hour=3)
    chain = create_chain(alice)
    fail(chain)
    other = create_chain(alice)
    with pytest.raises(ConcurrencyLimitReached):
        services._requeue(chain)
    chain.refresh_from_db()
    assert (chain.status, chain.charge) == ("failed", "released")
    assert MonthlyUsage.objects.get(user=alice).executions == 1
    fail(other)
    services._requeue(chain)
    fail(chain)
    with pytest.raises(RateLimited):
        services._requeue(chain)


def claim_chains(number: int) -> list[Run]:
    found = [leases.claim_next(uuid.uuid4()) for _ in range(number)]
    return [run for run in found if run]


def test_owners_take_turns(alice: Any, charlie: Any, carol: Any) -> None:
    """An owner with many chains waiting or running does not block the others."""
    mine = [create_chain(alice, status=Status.QUEUED, attempt=0) for _ in range(4)]
    theirs = [create_chain(user, status=Status.QUEUED, attempt=0) for user in (charlie, carol, charlie)]
    first, second, third, fourth, *rest = claim_chains(8)
    assert [first, second, third, fourth] == [mine[0], theirs[0], theirs[1], mine[1]]
    assert rest == [theirs[2], mine[2], mine[3]]
    assert all(run.attempt == 1 and run.status == "running" for run in (first, *rest))

    late = [create_chain(user, status=Status.QUEUED, attempt=0) for user in (alice, carol)]
    assert claim_chains(2) == [late[1], late[0]]  # carol has one chain running, alice four


def test_workers_that_ask_together_take_different_chains(alice: Any, charlie: Any) -> None:
    waiting = {create_chain(user, status=Status.QUEUED, attempt=0).pk for user in [alice] * 6 + [charlie] * 2}

    def claim(_: int) -> Run | None:
        try:
            return leases.claim_next(uuid.uuid4())
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        found = [run.pk for run in pool.map(claim, range(8)) if run]
    assert set(found) == waiting and len(found) == 8


def test_an_agents_run_is_not_claimed(alice: Any) -> None:
    create_chain(alice, chain="", agent="run", steps=[])
    assert claim_chains(1) == []
