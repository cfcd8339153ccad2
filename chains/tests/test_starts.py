"""A chain that is resumed is a start like any other; waiting chains take turns."""

from typing import Any

import pytest

import runs.services as runs
from billing.models import MonthlyUsage
from chains import services
from lunaos.errors import RateLimited
from runs import outcomes
from runs.errors import ConcurrencyLimitReached
from runs.models import Run, Status


def begin(user: Any, **fields: Any) -> Run:
    fields = {"chain": "custom", "steps": ["code-review"], "provider": "deepseek", "model": "m", **fields}
    return runs.begin(user=user, text="in", request_id="r", **fields).run


def fail(chain: Run) -> None:
    outcomes.finish(chain, outcomes.Outcome(Status.FAILED, "deepseek", "m"))
    chain.refresh_from_db()


def test_a_resumed_chain_takes_a_place_and_counts_as_a_start(alice: Any, bounds: Any) -> None:
    bounds("free", executions_at_once=1, starts_per_hour=3)
    chain = begin(alice)
    fail(chain)
    other = begin(alice)
    with pytest.raises(ConcurrencyLimitReached):
        services._take_up(chain)
    chain.refresh_from_db()
    assert (chain.status, chain.charge) == ("failed", "released")
    assert MonthlyUsage.objects.get(user=alice).executions == 1
    fail(other)
    services._take_up(chain)
    fail(chain)
    with pytest.raises(RateLimited):
        services._take_up(chain)
