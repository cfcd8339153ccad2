"""`manage.py check_quotas`: counters compared with runs."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from billing.models import MonthlyUsage
from runs import ledger
from runs.models import Run
from testing.client import Api
from testing.loopback.upstream import Answer, Upstream


def test_counters_agree_after_all_kinds_of_runs(
    api: Api, alice: Any, bob: Any, upstream: Upstream, chains_worker: Any, capsys: Any
) -> None:
    upstream.respond_with(Answer(status=500))
    assert api.execute(alice).status_code == 502
    upstream.reset()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: api.execute(bob) if n % 2 else api.execute_chain(bob, "code-review"), range(12)))
    assert sum(MonthlyUsage.objects.values_list("executions", flat=True)) == 12
    call_command("check_quotas")
    assert "agree" in capsys.readouterr().out


def test_a_changed_counter_is_found(api: Api, alice: Any, upstream: Upstream, capsys: Any) -> None:
    api.execute(alice)
    MonthlyUsage.objects.filter(user=alice).update(executions=7)
    (found,) = ledger.find_mismatches()
    assert (found.user_id, found.counted, found.charged) == (alice.pk, 7, 1)
    with pytest.raises(CommandError, match="1 months differ"):
        call_command("check_quotas")
    assert f"{alice.pk}" in capsys.readouterr().err


def test_a_deleted_run_and_an_uncounted_run_are_found(api: Api, alice: Any, bob: Any, upstream: Upstream) -> None:
    api.execute(alice)
    api.execute(bob)
    Run.objects.filter(user=alice).delete()
    MonthlyUsage.objects.filter(user=bob).delete()
    assert {(each.user_id, each.counted, each.charged) for each in ledger.find_mismatches()} == {
        (alice.pk, 1, 0),
        (bob.pk, 0, 1),
    }
