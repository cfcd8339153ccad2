"""Executions a month: exact, whatever runs at once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from typing import Any

import pytest
from django.db import connection

import runs.services as runs
from billing.errors import QuotaExceeded
from billing.models import MonthlyUsage
from runs import outcomes
from runs.models import Run, RunText, Status
from testing.client import Api, error, events
from testing.upstream import Answer, Upstream, delta


def begin(user: Any) -> runs.Begun:
    return runs.begin(user=user, agent="run", provider="deepseek", model="m", text="in", request_id="r")


def used(user: Any) -> int:
    return MonthlyUsage.objects.get(user=user).executions


def use(user: Any, executions: int) -> None:
    month = datetime.now(UTC).date().replace(day=1)
    MonthlyUsage.objects.update_or_create(user=user, month=month, defaults={"executions": executions})


def test_of_200_parallel_starts_with_10_left_10_start(alice: Any) -> None:
    use(alice, 90)

    def start(_: int) -> bool:
        try:
            begin(alice)
        except QuotaExceeded:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(20) as pool:
        started = list(pool.map(start, range(200)))

    assert sum(started) == 10
    assert used(alice) == 100
    assert Run.objects.filter(user=alice).count() == RunText.objects.count() == 10


def test_a_run_that_produced_something_stays_counted(alice: Any) -> None:
    run = begin(alice).run
    assert outcomes.finish(run, outcomes.Outcome(Status.FAILED, "deepseek", "m", output="half", produced=True))
    run.refresh_from_db()
    assert (run.charge, used(alice)) == ("settled", 1)


def test_a_run_without_output_is_given_back_once(alice: Any) -> None:
    run = begin(alice).run
    begin(alice)
    outcome = outcomes.Outcome(Status.FAILED, "deepseek", "m", error_code="provider_error")

    assert outcomes.finish(run, outcome)
    assert not outcomes.finish(run, outcome)
    run.refresh_from_db()
    assert (run.charge, used(alice)) == ("released", 1)


def test_it_is_given_back_to_the_month_it_was_taken_from(alice: Any) -> None:
    run = begin(alice).run
    use(alice, 5)
    MonthlyUsage.objects.create(user=alice, month=date(2020, 1, 1), executions=7)
    Run.objects.filter(pk=run.pk).update(charged_month=date(2020, 1, 1))
    run.refresh_from_db()
    outcomes.finish(run, outcomes.Outcome(Status.CANCELLED, "deepseek", "m"))

    assert sorted(MonthlyUsage.objects.values_list("executions", flat=True)) == [5, 6]


def test_exceeded_over_http(api: Api, alice: Any, upstream: Upstream) -> None:
    use(alice, 100)
    response = api.execute(alice)

    assert error(response) == (403, "quota_exceeded")
    body = response.json()
    assert (body["tier"], body["used"], body["limit"]) == ("free", 100, 100)
    assert body["upgradeUrl"].startswith("http") and body["message"]
    assert upstream.requests == []
    assert not Run.objects.filter(user=alice).exists()


def test_usage_headers(api: Api, alice: Any, upstream: Upstream) -> None:
    use(alice, 79)
    headers = api.execute(alice).headers

    assert (headers["X-Usage-Used"], headers["X-Usage-Limit"], headers["X-Usage-Remaining"]) == ("80", "100", "20")
    assert headers["X-Usage-Warning"] == "80% of monthly limit reached"


def test_no_warning_below_80_percent(api: Api, alice: Any, upstream: Upstream) -> None:
    use(alice, 78)
    assert "X-Usage-Warning" not in api.execute(alice).headers


@pytest.mark.parametrize("answer", [Answer(status=500), Answer(pieces=["cut"])])
def test_a_run_that_fails_before_the_first_chunk_is_not_counted(
    api: Api, alice: Any, upstream: Upstream, answer: Answer
) -> None:
    upstream.plays(answer)
    assert api.execute(alice).status_code == 502
    assert used(alice) == 0


def test_a_run_that_fails_after_the_first_chunk_is_counted(api: Api, alice: Any, upstream: Upstream) -> None:
    upstream.plays(Answer(pieces=[delta("half"), 0.05, "cut"]))
    assert events(api.execute(alice))[-1]["type"] == "error"
    assert used(alice) == 1
