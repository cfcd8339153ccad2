"""Runs in the admin: found, read, cancelled, and what they take on the disk."""

import re
from typing import Any

import httpx
from django.contrib.auth.models import Permission

from accounts.models import User
from lunaos.embedded.servers import until
from runs.models import Run
from testing.client import Api
from testing.upstream import Answer, Upstream, delta, says

LIST = "/admin/runs/run/"


def listed(staff: httpx.Client, query: str) -> set[str]:
    """Ids in the list."""
    page = staff.get(f"{LIST}?{query}")
    assert page.status_code == 200
    return set(re.findall(r"/admin/runs/run/([0-9a-f-]{36})/change/", page.text))


def hanging(api: Api, user: Any, upstream: Upstream) -> str:
    upstream.plays(Answer(pieces=[delta("half "), "hang"]))
    body = {"agent": "code-review", "context": "x"}
    with api.stream("POST", "/agents/execute", json=body, headers=api.as_(user)) as response:
        next(text for text in response.iter_text() if "half" in text)
    return response.headers["X-Run-Id"]


def form(page: httpx.Response, **fields: Any) -> dict[str, Any]:
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    assert token
    return {"csrfmiddlewaretoken": token[1], **fields}


def test_finding_runs(staff: httpx.Client, api: Api, alice: Any, bob: Any, upstream: Upstream) -> None:
    of_alice, of_bob = api.execute(alice).headers["X-Run-Id"], api.execute(bob, agent="seo").headers["X-Run-Id"]
    upstream.plays(Answer(status=401))
    failed = api.execute(alice, provider="openai").headers["X-Run-Id"]

    assert listed(staff, "") == {of_alice, of_bob, failed}
    assert listed(staff, f"q={of_bob}") == {of_bob}
    assert listed(staff, f"q={alice.email}") == {of_alice, failed}
    assert listed(staff, f"q={Run.objects.get(pk=failed).request_id}") == {failed}
    assert listed(staff, "q=nobody@example.com") == set()
    assert listed(staff, "status__exact=failed") == {failed}
    assert listed(staff, "provider=openai") == {failed}
    assert listed(staff, "agent=seo") == {of_bob}
    assert listed(staff, f"user__id__exact={bob.pk}") == {of_bob}
    assert listed(staff, "created_at__gte=2020-01-01&created_at__lt=2020-01-02") == set()


def test_a_chain_with_its_steps(
    staff: httpx.Client, api: Api, alice: Any, upstream: Upstream, chains_worker: Any
) -> None:
    upstream.plays(says("<b>found</b>"), Answer(status=401))
    run_id = api.execute_chain(alice, "code-review", "documentation", "deployment", context="<i>code</i>").headers[
        "X-Run-Id"
    ]
    page = staff.get(f"{LIST}{run_id}/change/").text

    for expected in ("custom", "failed (provider_error)", "not begun", "deepseek/deepseek-chat",
                     "11 + 7", "&lt;i&gt;code&lt;/i&gt;", alice.email):  # fmt: skip
        assert expected in page, expected
    assert "Cancel this run" not in page and 'name="_save"' not in page


def test_cancelling_from_the_page(staff: httpx.Client, api: Api, alice: Any, upstream: Upstream) -> None:
    run_id = hanging(api, alice, upstream)
    page = staff.get(f"{LIST}{run_id}/change/")
    assert "Cancel this run" in page.text
    assert staff.get(f"{LIST}{run_id}/cancel/").status_code == 405
    asked = staff.post(f"{LIST}{run_id}/cancel/", data=form(page, _selected_action=run_id, back_to_page="yes")).text
    assert "Cancel these runs?" in asked and f'href="{LIST}{run_id}/change/"' in asked
    assert Run.objects.get(pk=run_id).cancel_requested_at is None
    assert "1 runs were told to end" in staff.post(f"{LIST}{run_id}/cancel/", data=form(page, confirmed="yes")).text
    assert upstream.client_gone.wait(5)
    assert until(lambda: Run.objects.get(pk=run_id).status == "cancelled", 5)


def test_cancelling_from_the_list(staff: httpx.Client, api: Api, alice: Any, upstream: Upstream) -> None:
    run_id = hanging(api, alice, upstream)
    upstream.plays(says("all"))
    done = api.execute(alice).headers["X-Run-Id"]
    data = form(staff.get(LIST), action="cancel_all", confirmed="yes", _selected_action=[run_id, done])
    assert "1 runs were told to end" in staff.post(LIST, data=data).text
    assert until(lambda: Run.objects.get(pk=run_id).status == "cancelled", 5)
    assert Run.objects.get(pk=done).status == "succeeded"


def test_who_may_only_read(staff: httpx.Client, api: Api, alice: Any, upstream: Upstream) -> None:
    run_id = hanging(api, alice, upstream)
    User.objects.filter(is_staff=True).update(is_superuser=False)
    User.objects.get(is_staff=True).user_permissions.add(Permission.objects.get(codename="view_run"))
    page = staff.get(f"{LIST}{run_id}/change/")
    assert page.status_code == 200 and "Cancel this run" not in page.text
    assert staff.post(f"{LIST}{run_id}/cancel/", data=form(page)).status_code == 403
    assert staff.get(f"{LIST}storage/").status_code == 200
    User.objects.get(is_staff=True).user_permissions.clear()
    assert staff.get(f"{LIST}storage/").status_code == 403
    assert Run.objects.get(pk=run_id).cancel_requested_at is None
    api.post(f"/runs/{run_id}/cancel", headers=api.as_(alice))


def test_storage(staff: httpx.Client) -> None:
    """The tables of months to come, which nobody has counted, do not pretend to be empty."""
    page = staff.get(f"{LIST}storage/").text
    assert "runs_text_default" in page and "runs_step_default" in page
    assert "free 90 days" in page and re.search(r"\d\s(bytes|KB)", page)
    assert "not counted yet" in page and "storage/" in staff.get(LIST).text


def test_strangers_are_sent_to_the_login(api: Api, alice: Any) -> None:
    for path in (LIST, f"{LIST}storage/"):
        assert api.get(path, headers=api.as_(alice)).status_code == 302
