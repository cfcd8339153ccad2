"""The daily cost of the server's keys: exact sums, limits, alerts."""

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
from testing.loopback.upstream import Answer, Upstream, completion
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
    """Collect the alerts in the log."""
    with capture_logs() as lines:
        yield lines


def create_run(user: Any, **fields: Any) -> Run:
    fields = {"agent": "run", "provider": "deepseek", "model": "m", "text": "in", "request_id": "r", **fields}
    return services.create(user=user, **fields).run


def end_run(run: Run, cost_usd: str, status: Status = Status.SUCCEEDED, **fields: Any) -> bool:
    outcome = outcomes.Outcome(status, "deepseek", "m", cost_usd=Decimal(cost_usd), **{"shown": True, **fields})
    return outcomes.finish(run, outcome)


def write_cost(free: str = "0", paying: str = "0") -> None:
    """Write today's cost, in two rows per group."""
    day = spending.cost_today().day
    DailySpending.objects.all().delete()
    for is_free, amount in ((True, free), (False, paying)):
        for shard in (0, 7):
            DailySpending.objects.create(day=day, free=is_free, shard=shard, cost_usd=Decimal(amount) / 2)


def read_today() -> tuple[Decimal, Decimal]:
    found = spending.cost_today()
    return found.total, found.free


def is_refused(user: Any, targets: list[Target]) -> bool:
    try:
        agent_services._within_spend_limit(user, targets)
    except SpendLimitReached:
        return True
    return False


def target(name: str = "deepseek", **fields: Any) -> Target:
    return Target(Provider(name, "http://127.0.0.1:9/v1", "key", **fields), "m")


# -- Sums --------------------------------------------------------------------------------------------------------------


def test_it_works(alice: Any, bob: Any) -> None:
    end_run(create_run(alice), "0.25")
    end_run(create_run(bob), "1.5")
    assert read_today() == (Decimal("1.75"), Decimal("0.25"))
    assert spending.cost_today().day == datetime.now(UTC).date()


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        (Status.FAILED, {"shown": False}),  # the execution is released, the cost stays
        (Status.CANCELLED, {"asked": True, "shown": False}),
        (Status.INTERRUPTED, {}),
    ],
)
def test_every_end_of_a_run_is_counted(alice: Any, status: Status, fields: dict[str, Any]) -> None:
    end_run(create_run(alice), "0.25", status, **fields)
    assert read_today() == (Decimal("0.25"), Decimal("0.25"))


def test_the_sum_equals_that_of_the_runs_exactly(alice: Any) -> None:
    for _ in range(3):
        end_run(create_run(alice), "0.0000015")
    assert read_today()[0] == sum(Run.objects.values_list("cost_usd", flat=True)) == Decimal("0.000006")


def test_one_statement_with_the_end_of_the_run(alice: Any) -> None:
    run = create_run(alice)
    with CaptureQueriesContext(connection) as asked:
        end_run(run, "0.25")
    assert len(asked) == 1


def test_own_keys_and_free_models_are_not_counted(alice: Any, bob: Any) -> None:
    end_run(create_run(alice, own_key=True), "0.25")
    end_run(create_run(bob, own_key=True), "0.25")
    end_run(create_run(alice, provider=LOCAL), "0")
    assert not DailySpending.objects.exists()


def test_the_tier_at_the_end_counts(alice: Any) -> None:
    run = create_run(alice)
    type(alice).objects.filter(pk=alice.pk).update(tier="pro")
    end_run(run, "0.25")
    assert read_today() == (Decimal("0.25"), Decimal(0))


def test_parallel_ends_are_counted_once_each(alice: Any, bob: Any, bounds: Any) -> None:
    """Two threads end each run at once, and one of them is refused."""
    for tier in ("free", "pro"):
        bounds(tier, executions_at_once=60)
    runs = [create_run(user) for user in (alice, bob) for _ in range(60)]

    def finish(run: Run) -> bool:
        try:
            return end_run(run, "0.000001", shown=run.pk.int % 3 > 0)
        finally:
            connection.close()

    with ThreadPoolExecutor(12) as pool:
        ended = list(pool.map(finish, [run for run in runs for _ in range(2)]))
    assert sum(ended) == 120
    assert read_today() == (Decimal("0.000120"), Decimal("0.000060"))
    assert 2 < DailySpending.objects.count() <= 2 * spending.SHARDS


def test_a_chain_that_ends_again_adds_the_difference(alice: Any) -> None:
    run = create_run(alice, agent="", chain="custom", steps=["run"])
    for cost_usd, sum_usd in (("0.5", "0.5"), ("0.5", "0.5"), ("0.8", "0.8"), ("0.1", "0.8")):
        Run.objects.filter(pk=run.pk).update(status=Status.QUEUED)
        assert end_run(run, cost_usd, Status.FAILED)
        assert read_today()[0] == Decimal(sum_usd)


def test_earlier_cost_of_an_own_key_is_not_added(alice: Any) -> None:
    run = create_run(alice, agent="", chain="custom", steps=["run"], own_key=True)
    end_run(run, "0.5", Status.FAILED)
    Run.objects.filter(pk=run.pk).update(status=Status.QUEUED, own_key=False)
    end_run(run, "0.75")
    assert read_today()[0] == Decimal("0.25")


def test_the_added_cost_is_relative_to_the_locked_row(alice: Any) -> None:
    """An end that waited for another transaction's cost counts that cost once."""
    run = create_run(alice)

    def finish() -> bool:
        try:
            return end_run(run, "0.5")
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
    assert read_today()[0] == Decimal("0.2")


def test_the_cost_of_a_fallback_is_counted(impatient: Api, alice: Any, upstream: Upstream) -> None:
    upstream.script = lambda asked: (
        Answer(status=500) if asked["model"] == "deepseek-chat" else completion("so", tokens=(10_000, 1_000))
    )
    impatient.execute(alice)
    run = Run.objects.get(user=alice)
    assert run.provider == "openai" and run.cost_usd > 0
    assert read_today() == (run.cost_usd, run.cost_usd)


def test_sums_outlive_the_account_and_are_deleted_after_90_days(alice: Any) -> None:
    end_run(create_run(alice), "0.25")
    alice.delete()
    assert read_today()[0] == Decimal("0.25")
    for days in (90, 91):
        day = spending.cost_today().day - timedelta(days=days)
        DailySpending.objects.create(day=day, free=True, shard=0, cost_usd=1)
    forget_expired()
    assert {(spending.cost_today().day - row.day).days for row in DailySpending.objects.all()} == {0, 90}


# -- Refusals ----------------------------------------------------------------------------------------------------------


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
    write_cost(free="1", paying="3")
    assert is_refused(alice, [target()]) is refused


@pytest.mark.parametrize("tier", ["pro", "team"])
def test_paying_users_never(make_user: Any, limit: Limit, tier: str) -> None:
    limit("1", "1")
    write_cost(free="9", paying="9")
    assert not is_refused(make_user(tier=tier), [target()])


def test_nor_own_keys_nor_the_embedded_model(alice: Any, limit: Limit) -> None:
    limit("1")
    write_cost(paying="9")
    assert not is_refused(alice, [target(own_key=True)])
    assert not is_refused(alice, [target(LOCAL)])


def test_the_embedded_model_has_no_fallback_with_a_price(alice: Any, bob: Any, limit: Limit) -> None:
    limit("1")
    write_cost(paying="1")
    targets = [target(LOCAL), target()]
    assert agent_services._within_spend_limit(alice, targets) == targets[:1]
    assert agent_services._within_spend_limit(bob, targets) == targets


@pytest.mark.parametrize(("asked", "left"), [(LOCAL, [LOCAL]), ("deepseek", ["deepseek", LOCAL])])
def test_a_chain_under_way_goes_on(alice: Any, limit: Limit, settings: Any, asked: str, left: list[str]) -> None:
    """A chain on the embedded model has no fallback to a provider with a price."""
    reached = {"base_url": "http://127.0.0.1:9/v1", "api_key": "key"}
    known = settings.LLM_PROVIDERS
    settings.LLM_PROVIDERS = known | {name: known[name] | reached for name in (LOCAL, "deepseek")}
    settings.LLM_FALLBACK = [LOCAL, "deepseek"]
    model = "smollm2-135m-instruct" if asked == LOCAL else "deepseek-chat"
    run = create_run(alice, agent="", chain="custom", steps=["run"], provider=asked, model=model)
    limit("1")
    assert len(agent_services.targets_for_run(run)) == 2
    write_cost(paying="1")
    assert [each.provider.name for each in agent_services.targets_for_run(run)] == left


def test_another_day_is_another_budget(alice: Any, limit: Limit) -> None:
    limit("1", "1")
    write_cost(free="2")
    assert is_refused(alice, [target()])
    DailySpending.objects.update(day=spending.cost_today().day - timedelta(days=1))
    assert not is_refused(alice, [target()])


def test_limits_cost_one_statement_for_free_users_only(alice: Any, bob: Any, limit: Limit) -> None:
    def count_statements(user: Any, *targets: Target) -> int:
        tiers.list_all()  # warms the cache, as in every process
        with CaptureQueriesContext(connection) as queries:
            is_refused(user, list(targets))
            spending.send_alerts()
        return len(queries)

    assert count_statements(alice, target()) == count_statements(alice, target(LOCAL), target()) == 0
    limit("1", "1")
    assert count_statements(alice, target()) == 2  # the second statement is that of the sums
    assert (
        count_statements(bob, target())
        == count_statements(alice, target(own_key=True))
        == count_statements(alice, target(LOCAL))
        == 1
    )


def test_the_refusal(alice: Any, limit: Limit) -> None:
    limit("7.77")
    write_cost(paying="8.88")
    with pytest.raises(SpendLimitReached) as refused:
        agent_services._within_spend_limit(alice, [target("openai")])
    error = refused.value
    assert (error.code, error.status) == ("spend_limit_reached", 503)
    assert "PUT /providers/openai/key" in str(error) and "upgrade" in str(error) and "tomorrow" in str(error)
    assert error.retry_after and 1 <= error.retry_after <= 3600
    assert error.extra == {"upgradeUrl": tiers.upgrade_url("free")}
    assert "7.77" not in str(error.body) and "8.88" not in str(error.body)


@pytest.mark.parametrize(
    ("clock", "seconds"), [("00:00:00.0", 3600), ("22:59:59.0", 3600), ("23:30:00.5", 1800), ("23:59:59.9", 1)]
)
def test_retry_after_is_an_hour_or_midnight(clock: str, seconds: int) -> None:
    assert spending._retry_after_s(datetime.fromisoformat(f"2026-12-31T{clock}+00:00")) == seconds


def test_refusals_are_in_the_audit_trail_once_a_user_and_hour(alice: Any, charlie: Any, limit: Limit) -> None:
    limit("1")
    write_cost(paying="1")
    for user in (alice, charlie, alice):
        assert is_refused(user, [target()])
    rows = AuditEvent.objects.filter(action="run.refused", subject_id__in=(alice.pk, charlie.pk))
    assert [row.details for row in rows] == [{"reason": "spend_limit_reached"}] * 2


# -- Alerts ------------------------------------------------------------------------------------------------------------


def read_alerts(lines: list[Any]) -> list[tuple[str, str]]:
    return [(line["spent_usd"], line["limit_usd"]) for line in lines if line.get("alarm") == "spend_limit"]


def test_operators_get_one_alert_at_80_and_one_at_100_percent(
    database: None, limit: Limit, critical: list[Any], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ALARM_EMAILS = ["ops@example.com"]
    mailed: list[str] = []
    monkeypatch.setattr(mails.send_alarm, "apply_async", lambda args, **_: mailed.append(args[1]))
    limit("10", "2")
    for amount in ("7.999998", "8", "9", "10", "12"):
        write_cost(paying=amount)
        tasks.watch_spending()
        tasks.watch_spending()
    assert read_alerts(critical) == [("8.000000", "10"), ("10.000000", "10")]
    assert "80 % of LLM_DAILY_LIMIT_USD" in mailed[0] and "LLM_DAILY_LIMIT_USD is reached" in mailed[1]
    assert len(mailed) == 2


def test_each_limit_has_its_own_alert(database: None, limit: Limit, critical: list[Any]) -> None:
    limit("10", "2")
    write_cost(free="2", paying="6.5")
    tasks.watch_spending()
    assert read_alerts(critical) == [("8.500000", "10"), ("2.000000", "2")]


def test_alerts_are_repeated_on_the_next_day(
    database: None, limit: Limit, critical: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    limit("10")
    write_cost(paying="9")
    tasks.watch_spending()
    tomorrow = replace(spending.cost_today(), day=spending.cost_today().day + timedelta(days=1))
    monkeypatch.setattr(spending, "cost_today", lambda: tomorrow)
    tasks.watch_spending()
    assert len(read_alerts(critical)) == 2


def test_a_cache_that_is_away_costs_no_refusal(alice: Any, limit: Limit, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> None:
        raise ConnectionError

    monkeypatch.setattr(cache, "add", away)
    limit("1")
    write_cost(paying="1")
    assert is_refused(alice, [target()])
