"""Monthly executions are counted exactly, also in parallel."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from typing import Any

import pytest
from django.db import connection

from billing import grants, quota
from billing.errors import QuotaExceeded
from billing.models import MonthlyUsage
from runs import outcomes
from runs import services as run_services
from runs.models import Run, RunText, Status
from runs.outcomes import Failure
from testing import trail
from testing.client import Api, error, events
from testing.loopback.upstream import Answer, Upstream, delta
from testing.mailbox import Mailbox, get_text


def begin(user: Any) -> run_services.StartedRun:
    return run_services.create(user=user, agent="run", provider="deepseek", model="m", text="in", request_id="r")


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


def test_a_run_with_output_stays_counted(alice: Any) -> None:
    run = begin(alice).run
    assert outcomes.finish(run, outcomes.Outcome(Status.FAILED, "deepseek", "m", output="half", shown=True))
    run.refresh_from_db()
    assert (run.charge, used(alice)) == ("settled", 1)


def test_a_run_without_output_is_released_once(alice: Any) -> None:
    run = begin(alice).run
    begin(alice)
    outcome = outcomes.Outcome(Status.FAILED, "deepseek", "m", Failure("provider_error", "It failed."))

    assert outcomes.finish(run, outcome)
    assert not outcomes.finish(run, outcome)
    run.refresh_from_db()
    assert (run.charge, used(alice)) == ("released", 1)


def test_a_release_goes_to_the_month_of_the_reservation(alice: Any) -> None:
    run = begin(alice).run
    use(alice, 5)
    MonthlyUsage.objects.create(user=alice, month=date(2020, 1, 1), executions=7)
    Run.objects.filter(pk=run.pk).update(charged_month=date(2020, 1, 1))
    run.refresh_from_db()
    outcomes.finish(run, outcomes.Outcome(Status.CANCELLED, "deepseek", "m"))

    assert sorted(MonthlyUsage.objects.values_list("executions", flat=True)) == [5, 6]


def test_a_month_ends_for_starts_in_parallel(alice: Any) -> None:
    """Half of the runs start in the last second of November, half in the first of December.

    Each month has a quota of 100 of its own.
    """
    moments = [datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)]

    def start(n: int) -> int:
        try:
            quota.reserve(alice, moments[n % 2], chain=n % 3 == 0)
        except QuotaExceeded:
            return 0
        finally:
            connection.close()
        return 1

    with ThreadPoolExecutor(20) as pool:
        started = sum(pool.map(start, range(300)))

    assert started == 200
    months = MonthlyUsage.objects.filter(user=alice).order_by("month").values_list("month", "executions")
    assert list(months) == [(date(2026, 11, 1), 100), (date(2026, 12, 1), 100)]


def test_a_tier_that_is_lowered_counts_at_once(api: Api, make_user: Any, upstream: Upstream) -> None:
    bob = make_user("bob", tier="pro")
    use(bob, 150)
    assert api.execute(bob).status_code == 200
    grants.set_tier(user=bob, tier="free")
    response = api.execute(bob)
    assert error(response) == (403, "quota_exceeded")
    assert (response.json()["used"], response.json()["limit"]) == (151, 100)


def test_refusals_are_in_the_audit_trail(api: Api, alice: Any, upstream: Upstream) -> None:
    use(alice, 100)
    api.execute(alice)
    api.post(
        "/agents/execute",
        json={"agent": "code-review", "context": "x"},
        headers={**api.as_(alice), "Idempotency-Key": "again"},
    )
    refused = trail.event_details(alice, "run.refused")
    expected = {"reason": "quota_exceeded", "tier": "free", "used": 100, "limit": 100}
    assert refused == [expected, expected]


@pytest.mark.parametrize(("before", "percent"), [(79, 80), (99, 100)])
def test_the_owner_is_mailed_once_at_each_mark(
    api: Api, alice: Any, upstream: Upstream, mailbox: Mailbox, before: int, percent: int
) -> None:
    use(alice, before)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: api.execute(alice), range(4)))
    use(alice, before)  # as after runs were released
    api.execute(alice)

    (mail,) = mailbox.of(alice)
    assert mail["Subject"] == f"{percent}% of your LunaOS executions are used"
    assert f"Used: {percent // 10}" in get_text(mail)  # 80 to 83: any of the four may have been first to mail
    assert "Limit: 100\n" in get_text(mail)


def test_both_marks_in_one_month_are_two_mails(api: Api, alice: Any, upstream: Upstream, mailbox: Mailbox) -> None:
    for before in (79, 80, 99):
        use(alice, before)
        api.execute(alice)
    assert sorted(mail["Subject"][:4] for mail in mailbox.of(alice)) == ["100%", "80% "]  # threads send the e-mails


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


@pytest.mark.parametrize(
    ("used", "expected"), [(7_999, None), (8_000, "80% of"), (9_999, "99% of"), (10_000, "100% of")]
)
def test_a_warning_rounds_the_percentage_down(used: int, expected: str | None) -> None:
    warning = quota.Usage(date(2026, 11, 1), 10_000, used).warning
    assert warning == (expected and f"{expected} monthly limit reached")


@pytest.mark.parametrize("answer", [Answer(status=500), Answer(pieces=["cut"])])
def test_a_run_that_fails_before_the_first_chunk_is_not_counted(
    api: Api, alice: Any, upstream: Upstream, answer: Answer
) -> None:
    upstream.respond_with(answer)
    assert api.execute(alice).status_code == 502
    assert used(alice) == 0


def test_a_run_that_fails_after_the_first_chunk_is_counted(api: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(Answer(pieces=[delta("half"), 0.05, "cut"]))
    assert events(api.execute(alice))[-1]["type"] == "error"
    assert used(alice) == 1
