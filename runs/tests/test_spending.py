"""What the server's provider keys cost a day: exact sums, limits for the free tier, alarms for the operators."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from structlog.testing import capture_logs

from accounts import tasks as mails
from accounts.models import AuditEvent
from agents import services as agent_services
from agents.provider_keys import Keyring
from agents.providers import LOCAL, Provider, Target
from billing import tiers
from lunaos.embedded.servers import until
from runs import outcomes, services, tasks
from runs.errors import SpendLimitReached
from runs.metering import spending
from runs.models import DailySpending, Run, Status
from testing.client import Api
from testing.upstream import Answer, Upstream, says
from web.tasks import forget_expired

OWN = Keyring(user_id=None, sealed={})  # type: ignore[arg-type]
Limit = Callable[..., None]


@pytest.fixture
def limit(settings: Any) -> Limit:
    def set_limits(total: str = "0", free: str = "0") -> None:
        settings.LLM_DAILY_LIMIT_USD, settings.LLM_FREE_DAILY_LIMIT_USD = Decimal(total), Decimal(free)

    return set_limits


@pytest.fixture
def critical() -> Iterator[list[Any]]:
    """The alarms that are logged."""
    with capture_logs() as lines:
        yield lines


def begin(user: Any, **fields: Any) -> Run:
    fields = {"agent": "run", "provider": "deepseek", "model": "m", "text": "in", "request_id": "r", **fields}
    return services.begin(user=user, **fields).run


def end(run: Run, cost_usd: str, status: Status = Status.SUCCEEDED, **fields: Any) -> bool:
    outcome = outcomes.Outcome(status, "deepseek", "m", cost_usd=Decimal(cost_usd), **{"shown": True, **fields})
    return outcomes.finish(run, outcome)


def spent(free: str = "0", paying: str = "0") -> None:
    """Write down what today has cost, over two rows each."""
    day = spending.today().day
    DailySpending.objects.all().delete()
    for is_free, amount in ((True, free), (False, paying)):
        for shard in (0, 7):
            DailySpending.objects.create(day=day, free=is_free, shard=shard, cost_usd=Decimal(amount) / 2)


def today() -> tuple[Decimal, Decimal]:
    found = spending.today()
    return found.total, found.free


def is_refused(user: Any, targets: list[Target]) -> bool:
    try:
        agent_services._within_spend_limit(user, targets)
    except SpendLimitReached:
        return True
    return False


def target(name: str = "deepseek", **fields: Any) -> Target:
    return Target(Provider(name, "http://127.0.0.1:9/v1", "key", **fields), "m")


# -- What is counted ---------------------------------------------------------------------------------------------------


def test_it_works(alice: Any, bob: Any) -> None:
    end(begin(alice), "0.25")
    end(begin(bob), "1.5")
    assert today() == (Decimal("1.75"), Decimal("0.25"))
    assert spending.today().day == datetime.now(UTC).date()


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        (Status.FAILED, {"shown": False}),  # its execution is given back, its cost stays
        (Status.CANCELLED, {"asked": True, "shown": False}),
        (Status.INTERRUPTED, {}),
    ],
)
def test_whatever_became_of_the_run(alice: Any, status: Status, fields: dict[str, Any]) -> None:
    end(begin(alice), "0.25", status, **fields)
    assert today() == (Decimal("0.25"), Decimal("0.25"))


def test_the_sum_is_that_of_the_runs_to_the_last_digit(alice: Any) -> None:
    for _ in range(3):
        end(begin(alice), "0.0000015")
    assert today()[0] == sum(Run.objects.values_list("cost_usd", flat=True)) == Decimal("0.000006")


def test_one_statement_with_the_end_of_the_run(alice: Any) -> None:
    run = begin(alice)
    with CaptureQueriesContext(connection) as asked:
        end(run, "0.25")
    assert len(asked) == 1


def test_neither_own_keys_nor_what_costs_nothing(alice: Any, bob: Any) -> None:
    end(begin(alice, own_key=True), "0.25")
    end(begin(bob, own_key=True), "0.25")
    end(begin(alice, provider=LOCAL), "0")
    assert not DailySpending.objects.exists()


def test_the_tier_is_that_of_the_end(alice: Any) -> None:
    run = begin(alice)
    type(alice).objects.filter(pk=alice.pk).update(tier="pro")
    end(run, "0.25")
    assert today() == (Decimal("0.25"), Decimal(0))


def test_parallel_ends_are_counted_once_each(alice: Any, bob: Any, bounds: Any) -> None:
    """Each run is ended by two threads at once, of which one is refused."""
    for tier in ("free", "pro"):
        bounds(tier, executions_at_once=60)
    runs = [begin(user) for user in (alice, bob) for _ in range(60)]

    def finish(run: Run) -> bool:
        try:
            return end(run, "0.000001", shown=run.pk.int % 3 > 0)
        finally:
            connection.close()

    with ThreadPoolExecutor(12) as pool:
        ended = list(pool.map(finish, [run for run in runs for _ in range(2)]))
    assert sum(ended) == 120
    assert today() == (Decimal("0.000120"), Decimal("0.000060"))
    assert 2 < DailySpending.objects.count() <= 2 * spending.SHARDS


def test_a_chain_that_ends_again_adds_the_difference(alice: Any) -> None:
    run = begin(alice, agent="", chain="custom", steps=["run"])
    for cost_usd, sum_usd in (("0.5", "0.5"), ("0.5", "0.5"), ("0.8", "0.8"), ("0.1", "0.8")):
        Run.objects.filter(pk=run.pk).update(status=Status.QUEUED)
        assert end(run, cost_usd, Status.FAILED)
        assert today()[0] == Decimal(sum_usd)


def test_what_an_own_key_has_cost_before_is_not_added(alice: Any) -> None:
    run = begin(alice, agent="", chain="custom", steps=["run"], own_key=True)
    end(run, "0.5", Status.FAILED)
    Run.objects.filter(pk=run.pk).update(status=Status.QUEUED, own_key=False)
    end(run, "0.75")
    assert today()[0] == Decimal("0.25")


def test_the_difference_is_to_the_row_as_it_is_once_its_lock_is_free(alice: Any) -> None:
    """An end that began before another transaction wrote a cost must not count that cost again."""
    run = begin(alice)

    def finish() -> bool:
        try:
            return end(run, "0.5")
        finally:
            connection.close()

    def waits() -> bool:
        with connection.cursor() as cursor:
            mine = "pg_backend_pid() = ANY(pg_blocking_pids(pid))"
            return bool(cursor.execute(f"SELECT count(*) FROM pg_locks WHERE NOT granted AND {mine}").fetchone()[0])

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            Run.objects.filter(pk=run.pk).update(cost_usd="0.3")
            ended = pool.submit(finish)
            assert until(waits, 10)
        assert ended.result(10)
    assert today()[0] == Decimal("0.2")


def test_what_a_fallback_costs_is_the_servers(impatient: Api, alice: Any, upstream: Upstream) -> None:
    upstream.script = lambda asked: (
        Answer(status=500) if asked["model"] == "deepseek-chat" else says("so", tokens=(10_000, 1_000))
    )
    impatient.execute(alice)
    run = Run.objects.get(user=alice)
    assert run.provider == "openai" and run.cost_usd > 0
    assert today() == (run.cost_usd, run.cost_usd)


def test_it_outlives_the_account_and_ends_after_90_days(alice: Any) -> None:
    end(begin(alice), "0.25")
    alice.delete()
    assert today()[0] == Decimal("0.25")
    for days in (90, 91):
        day = spending.today().day - timedelta(days=days)
        DailySpending.objects.create(day=day, free=True, shard=0, cost_usd=1)
    forget_expired()
    assert {(spending.today().day - row.day).days for row in DailySpending.objects.all()} == {0, 90}


# -- Who is refused ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("total", "free", "refused"),
    [
        ("0", "0", False),
        ("10", "0", False),
        ("4", "0", True),
        ("3.999999", "0", True),
        ("4.000001", "0", False),
        ("0", "1", True),
        ("0", "1.000001", False),
        ("100", "1", True),
        ("4", "100", True),
    ],
)
def test_free_users_at_either_limit(alice: Any, limit: Limit, total: str, free: str, refused: bool) -> None:
    limit(total, free)
    spent(free="1", paying="3")
    assert is_refused(alice, [target()]) is refused


@pytest.mark.parametrize("tier", ["pro", "team"])
def test_paying_users_never(make_user: Any, limit: Limit, tier: str) -> None:
    limit("1", "1")
    spent(free="9", paying="9")
    assert not is_refused(make_user(tier=tier), [target()])


def test_nor_own_keys_nor_the_embedded_model(alice: Any, limit: Limit) -> None:
    limit("1")
    spent(paying="9")
    assert not is_refused(alice, [target(own_key=True)])
    assert not is_refused(alice, [target(LOCAL)])


def test_the_embedded_model_does_not_fall_back_on_what_costs(alice: Any, bob: Any, limit: Limit) -> None:
    limit("1")
    spent(paying="1")
    targets = [target(LOCAL), target()]
    assert agent_services._within_spend_limit(alice, targets) == targets[:1]
    assert agent_services._within_spend_limit(bob, targets) == targets


@pytest.mark.parametrize(("asked", "left"), [(LOCAL, [LOCAL]), ("deepseek", ["deepseek", LOCAL])])
def test_a_chain_under_way_goes_on(alice: Any, limit: Limit, settings: Any, asked: str, left: list[str]) -> None:
    """On who was asked for; the embedded model does not hand a step on to a provider that costs."""
    reached = {"base_url": "http://127.0.0.1:9/v1", "api_key": "key"}
    known = settings.LLM_PROVIDERS
    settings.LLM_PROVIDERS = known | {name: known[name] | reached for name in (LOCAL, "deepseek")}
    settings.LLM_FALLBACK = [LOCAL, "deepseek"]
    model = "smollm2-135m-instruct" if asked == LOCAL else "deepseek-chat"
    run = begin(alice, agent="", chain="custom", steps=["run"], provider=asked, model=model)
    limit("1")
    assert len(agent_services.targets_for_run(run)) == 2
    spent(paying="1")
    assert [each.provider.name for each in agent_services.targets_for_run(run)] == left


def test_another_day_is_another_budget(alice: Any, limit: Limit) -> None:
    limit("1", "1")
    spent(free="2")
    assert is_refused(alice, [target()])
    DailySpending.objects.update(day=spending.today().day - timedelta(days=1))
    assert not is_refused(alice, [target()])


def test_one_statement_where_a_limit_is_set_for_who_may_be_refused(alice: Any, bob: Any, limit: Limit) -> None:
    def asked(user: Any, *targets: Target) -> int:
        tiers.everything()  # as every process knows them
        with CaptureQueriesContext(connection) as queries:
            is_refused(user, list(targets))
            spending.sound_alarms()
        return len(queries)

    assert asked(alice, target()) == asked(alice, target(LOCAL), target()) == 0
    limit("1", "1")
    assert asked(alice, target()) == 2  # the second is the alarms' own
    assert asked(bob, target()) == asked(alice, target(own_key=True)) == asked(alice, target(LOCAL)) == 1


def test_the_refusal(alice: Any, limit: Limit) -> None:
    limit("7.77")
    spent(paying="8.88")
    with pytest.raises(SpendLimitReached) as refused:
        agent_services._within_spend_limit(alice, [target("openai")])
    error = refused.value
    assert (error.code, error.status) == ("spend_limit_reached", 503)
    assert "PUT /providers/openai/key" in str(error) and "upgrade" in str(error) and "tomorrow" in str(error)
    assert error.retry_after and 1 <= error.retry_after <= 3600
    assert error.extra == {"upgradeUrl": tiers.upgrade_url()}
    assert "7.77" not in str(error.body) and "8.88" not in str(error.body)


@pytest.mark.parametrize(
    ("clock", "seconds"), [("00:00:00.0", 3600), ("22:59:59.0", 3600), ("23:30:00.5", 1800), ("23:59:59.9", 1)]
)
def test_to_try_again_is_worth_it_in_an_hour_or_at_midnight(clock: str, seconds: int) -> None:
    assert spending._retry_after_s(datetime.fromisoformat(f"2026-12-31T{clock}+00:00")) == seconds


def test_refusals_are_in_the_audit_trail_once_a_user_and_hour(alice: Any, charlie: Any, limit: Limit) -> None:
    limit("1")
    spent(paying="1")
    for user in (alice, charlie, alice):
        assert is_refused(user, [target()])
    rows = AuditEvent.objects.filter(action="run.refused", subject_id__in=(alice.pk, charlie.pk))
    assert [row.details for row in rows] == [{"reason": "spend_limit_reached"}] * 2


# -- Alarms ------------------------------------------------------------------------------------------------------------


def alarms(lines: list[Any]) -> list[tuple[str, str]]:
    return [(line["spent_usd"], line["limit_usd"]) for line in lines if line.get("alarm") == "spend_limit"]


def test_operators_hear_of_80_and_of_100_percent_once(
    database: None, limit: Limit, critical: list[Any], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ALARM_EMAILS = ["ops@example.com"]
    mailed: list[str] = []
    monkeypatch.setattr(mails.send_alarm, "apply_async", lambda args, **_: mailed.append(args[1]))
    limit("10", "2")
    for amount in ("7.999998", "8", "9", "10", "12"):
        spent(paying=amount)
        tasks.watch_spending()
        tasks.watch_spending()
    assert alarms(critical) == [("8.000000", "10"), ("10.000000", "10")]
    assert "80 % of LLM_DAILY_LIMIT_USD" in mailed[0] and "LLM_DAILY_LIMIT_USD is reached" in mailed[1]
    assert len(mailed) == 2


def test_each_limit_has_its_own(database: None, limit: Limit, critical: list[Any]) -> None:
    limit("10", "2")
    spent(free="2", paying="6.5")
    tasks.watch_spending()
    assert alarms(critical) == [("8.500000", "10"), ("2.000000", "2")]


def test_the_next_day_they_hear_of_it_again(
    database: None, limit: Limit, critical: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    limit("10")
    spent(paying="9")
    tasks.watch_spending()
    tomorrow = replace(spending.today(), day=spending.today().day + timedelta(days=1))
    monkeypatch.setattr(spending, "today", lambda: tomorrow)
    tasks.watch_spending()
    assert len(alarms(critical)) == 2


def test_a_cache_that_is_away_costs_no_refusal(alice: Any, limit: Limit, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> None:
        raise ConnectionError

    monkeypatch.setattr(cache, "add", away)
    limit("1")
    spent(paying="1")
    assert is_refused(alice, [target()])
