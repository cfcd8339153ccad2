"""A user's page in the admin: facts, tables, and how a tier is set there."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pytest
from django.test import Client

from accounts.auditlog import trail
from accounts.auditlog.trail import Action
from accounts.models import AuditEvent
from billing.models import Grant, MonthlyUsage
from runs.models import Status
from runs.tests.test_stats import add_run
from web.admin.recent_table import ROWS_PER_TABLE
from web.tests.test_admin_queries import FEW, key, queries, refusal, staff_client
from web.tests.test_admin_users import LIST

__all__ = ["staff_client"]

TOMORROW = datetime.now(UTC).date() + timedelta(days=1)


def page_of(user: Any) -> str:
    return f"{LIST}{user.pk}/change/"


def busy(user: Any, n: int) -> None:
    """Return a row of each kind."""
    key(user, n)
    refusal(user, n)
    add_run(user, status=Status.FAILED, error_code=f"code_{n}")
    trail.record_on_commit(Action.RUN_REFUSED, actor=user, subject=user, reason=f"reason {n}")
    MonthlyUsage.objects.create(user=user, month=date(2020 + n // 12, 1 + n % 12, 1), executions=n)
    Grant.objects.create(user=user, tier_id="pro", reason=f"reason {n}")


def set_tier(client: Client, user: Any, path: str = LIST, **form: Any) -> Any:
    sent = {"action": "set_tier", "_selected_action": str(user.pk), "back_to_page": "yes", **form}
    return client.post(path, sent, follow=True)


def test_it_works(staff_client: Client, alice: Any) -> None:
    busy(alice, 1)
    page = staff_client.get(page_of(alice)).content.decode()
    for text in (
        "1 of 100",
        "lnos_1…",
        "failed (code_1)",
        "reason: reason 1",
        "themselves",
        "February 2020",
        "active",
        "pro_required",
    ):
        assert text in page, text
    for link in (
        f"runs/run/?user__id__exact={alice.pk}",
        f"auditevent/?q={alice.pk}",
        "apikey/?q=alice-",
        "&code=pro_required",
    ):
        assert link in page, link


def test_a_run_whose_cost_is_unknown(staff_client: Client, alice: Any) -> None:
    add_run(alice, cost_usd=0, cost_known=False)
    assert re.search(r"<td[^>]*>\s*unknown\s*</td>", staff_client.get(page_of(alice)).content.decode())


def test_a_newcomer(staff_client: Client, alice: Any) -> None:
    page = staff_client.get(page_of(alice)).content.decode()
    assert page.count("None yet.") == 6 and "No payments and no grants." in page


def test_as_many_queries_for_much_as_for_little(staff_client: Client, alice: Any) -> None:
    for n in range(FEW):
        busy(alice, n)
    before = queries(staff_client, page_of(alice))
    for n in range(FEW, 2 + ROWS_PER_TABLE):
        busy(alice, n)
    assert queries(staff_client, page_of(alice)) == before <= 18
    page = staff_client.get(page_of(alice)).content.decode()
    assert len(re.findall(r"failed \(code_\d+\)", page)) == ROWS_PER_TABLE  # the newest, and a link


def test_setting_a_tier(staff_client: Client, alice: Any) -> None:
    asked = set_tier(staff_client, alice).content.decode()
    assert alice.email in asked and 'name="reason"' in asked and f'href="{page_of(alice)}"' in asked
    done = set_tier(staff_client, alice, confirmed="yes", tier="pro", until=str(TOMORROW), reason="a beta tester")
    assert done.redirect_chain[-1][0] == page_of(alice)
    assert f"{alice.email} is on pro now." in done.content.decode()
    alice.refresh_from_db()
    [grant] = alice.grants.all()
    assert (alice.tier, grant.reason) == ("pro", "a beta tester")
    assert grant.granted_by is not None and grant.until.date() == TOMORROW + timedelta(days=1)
    written = AuditEvent.objects.get(action=Action.TIER_GRANTED, subject_id=alice.pk)
    assert written.actor_id == grant.granted_by_id and written.details["reason"] == "a beta tester"


def test_ending_a_grant(staff_client: Client, alice: Any) -> None:
    set_tier(staff_client, alice, confirmed="yes", tier="team", reason="by mistake")
    set_tier(staff_client, alice, confirmed="yes", tier="free", reason="it was one")
    alice.refresh_from_db()
    assert alice.tier == "free"
    assert AuditEvent.objects.get(action=Action.TIER_GRANT_ENDED, subject_id=alice.pk).details["reason"] == "it was one"


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"tier": "pro"}, "This field is required."),
        ({"tier": "pro", "reason": "x", "until": "2020-01-01"}, "The day is in the past."),
        ({"tier": "free", "reason": "x", "until": str(TOMORROW)}, "The tier free has no end"),
        ({"tier": "gold", "reason": "x"}, "Select a valid choice."),
        ({"tier": "pro", "reason": "x" * 201}, "at most 200 characters"),
    ],
)
def test_invalid_input_is_rejected(staff_client: Client, alice: Any, form: dict[str, str], said: str) -> None:
    answer = set_tier(staff_client, alice, confirmed="yes", **form).content.decode()
    assert said in answer and 'name="reason"' in answer
    alice.refresh_from_db()
    assert alice.tier == "free" and not alice.grants.exists()


def test_a_paid_tier_stays(stripe: Any, staff: httpx.Client, alice: Any) -> None:
    stripe.subscribe(alice, "team")
    page = staff.get(page_of(alice)).text
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
    form = {"action": "set_tier", "_selected_action": str(alice.pk), "confirmed": "yes", "back_to_page": "yes"}
    form |= {"tier": "pro", "reason": "a gift", "csrfmiddlewaretoken": token[1] if token else ""}
    assert f"{alice.email} stays on team" in staff.post(LIST, data=form).text


def test_from_the_list_one_comes_back_to_the_list(staff_client: Client, alice: Any, bob: Any) -> None:
    form = {"action": "set_tier", "_selected_action": [str(alice.pk), str(bob.pk)]}
    form |= {"confirmed": "yes", "tier": "team", "reason": "a gift"}
    done = staff_client.post(f"{LIST}?tier=free", form, follow=True)
    assert done.redirect_chain[-1][0] == f"{LIST}?tier=free"
    assert f"{alice.email} is on team now." in done.content.decode()  # bob is not in this list
