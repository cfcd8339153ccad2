"""Runs in the admin: search, pages, cancellation, and storage."""

import re
from decimal import Decimal
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import Permission

from accounts.models import User
from lunaos.embedded.servers import until
from runs.metering import charge_reasons
from runs.models import Run, RunStep, RunText, Status
from runs.tests.test_stats import add_run
from testing.client import Api
from testing.loopback.upstream import Answer, Upstream, completion, delta

LIST = "/admin/runs/run/"


def listed(staff: httpx.Client, query: str) -> set[str]:
    """Return the ids in the list."""
    page = staff.get(f"{LIST}?{query}")
    assert page.status_code == 200
    return set(re.findall(r"/admin/runs/run/([0-9a-f-]{36})/change/", page.text))


def start_waiting_run(api: Api, user: Any, upstream: Upstream) -> str:
    upstream.respond_with(Answer(pieces=[delta("half "), "hang"]))
    body = {"agent": "code-review", "context": "x"}
    with api.stream("POST", "/agents/execute", json=body, headers=api.as_(user)) as response:
        next(text for text in response.iter_text() if "half" in text)
    return response.headers["X-Run-Id"]


def fill_form(page: httpx.Response, **fields: Any) -> dict[str, Any]:
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    assert token
    return {"csrfmiddlewaretoken": token[1], **fields}


def test_finding_runs(staff: httpx.Client, api: Api, alice: Any, bob: Any, upstream: Upstream) -> None:
    of_alice, of_bob = api.execute(alice).headers["X-Run-Id"], api.execute(bob, agent="seo").headers["X-Run-Id"]
    upstream.respond_with(Answer(status=401))
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
    upstream.respond_with(completion("<b>found</b>"), Answer(status=401))
    run_id = api.execute_chain(alice, "code-review", "documentation", "deployment", context="<i>code</i>").headers[
        "X-Run-Id"
    ]
    page = staff.get(f"{LIST}{run_id}/change/").text

    for expected in ("custom", "failed (provider_error)", "not started", "deepseek/deepseek-chat",
                     "11 + 7", "&lt;i&gt;code&lt;/i&gt;", alice.email):  # fmt: skip
        assert expected in page, expected
    assert "<b>found</b>" not in page
    assert "Cancel this run" not in page and 'name="_save"' not in page


def read_field(page: str, label: str) -> str:
    """Return the text of a read-only field without its markup."""
    found = re.search(rf">\s*{label}\s*</label>(.*?)(?=<label|</fieldset>)", page, re.DOTALL)
    assert found, label
    return " ".join(re.sub("<[^>]*>", " ", found[1]).split())


def test_why_a_run_failed(staff: httpx.Client, api: Api, alice: Any, upstream: Upstream) -> None:
    """Staff see the redacted message of a provider that the client does not see."""
    said = b'{"error": {"message": "<b>Not so</b>, org-abcdef0123456789"}}'
    upstream.respond_with(Answer(status=400, body=said, headers={"Content-Type": "application/json"}))
    response = api.execute(alice)
    page = staff.get(f"{LIST}{response.headers['X-Run-Id']}/change/").text

    assert read_field(page, "Message to the client") == response.json()["error"]
    assert read_field(page, "Error code") == "provider_error"
    assert read_field(page, "Provider status").startswith("400")
    attempt = read_field(page, "Last attempt that failed")
    for expected in (
        "deepseek/deepseek-chat",
        "HTTP status 400",
        "Provider's message &lt;b&gt;Not so&lt;/b&gt;, [account]",
    ):
        assert expected in attempt, attempt
    assert "org-abcdef" not in page and "Not so" not in response.text


def test_a_run_that_failed_before_any_provider(staff: httpx.Client, alice: Any) -> None:
    run = add_run(alice, status=Status.INTERRUPTED, error_code="interrupted")
    page = staff.get(f"{LIST}{run.pk}/change/").text
    assert read_field(page, "Message to the client") == read_field(page, "Last attempt that failed") == "no longer kept"
    RunText.objects.create(run_id=run.pk, expires_at=run.expires_at, input="", error="It stopped.")
    page = staff.get(f"{LIST}{run.pk}/change/").text
    assert read_field(page, "Message to the client") == "It stopped."
    assert read_field(page, "Last attempt that failed") == "No request to a provider failed."


def test_no_failure_where_a_run_succeeded(staff: httpx.Client, alice: Any) -> None:
    page = staff.get(f"{LIST}{add_run(alice).pk}/change/").text
    assert "Message to the client" not in page and "Last attempt" not in page


def test_tokens_and_cost_of_a_run(staff: httpx.Client, alice: Any) -> None:
    kinds: dict[str, Any] = {"input_tokens": 812, "output_tokens": 240, "reasoning_tokens": 96}
    kinds |= {"cache_read_tokens": 640, "cache_write_tokens": 32}
    run = add_run(alice, **kinds, cost_usd=Decimal("0.000321"), chain="custom", agent="")
    page = staff.get(f"{LIST}{run.pk}/change/").text
    for label, count in (("Input", 812), ("Cache read", 640), ("Cache write", 32), ("Output", 240), ("Reasoning", 96)):
        assert read_field(page, f"{label} tokens").split()[0] == str(count)
    assert read_field(page, "Token count") == "reported by the provider" and read_field(page, "Cost, USD") == "0.000321"

    Run.objects.update(tokens_estimated=True, cost_known=False, cancelled_by_staff=True)
    page = staff.get(f"{LIST}{run.pk}/change/").text
    assert read_field(page, "Token count") == "estimated, at least partly"
    assert read_field(page, "Cost, USD") == "0.000321 + unknown"
    assert read_field(page, "Cancelled by staff").startswith("check_small")


def test_tokens_and_cost_of_steps(staff: httpx.Client, alice: Any) -> None:
    run = add_run(alice, chain="custom", agent="", steps=["seo", "docker"])
    step = {"run_id": run.pk, "expires_at": run.expires_at, "status": "succeeded", "provider": "openai", "model": "m"}
    step |= {"duration_ms": 1, "finished_at": run.created_at, "output": ""}
    kinds = {"input_tokens": 812, "output_tokens": 240, "reasoning_tokens": 96, "cache_read_tokens": 640}
    RunStep.objects.create(**step, **kinds, position=1, agent="seo", cost_usd=Decimal("0.000321"))
    RunStep.objects.create(**step, position=2, agent="docker", input_tokens=9, tokens_estimated=True, cost_known=False)
    page = staff.get(f"{LIST}{run.pk}/change/").text
    cells = [" ".join(re.sub("<[^>]*>", " ", cell).split()) for cell in re.findall(r"<td>(.*?)</td>", page)]
    assert "812 + 240 640 from cache, 96 reasoning" in cells and "0.000321" in cells
    assert "9 + 0 estimated" in cells and "unknown" in cells


def test_the_list_says_where_a_cost_is_unknown(staff: httpx.Client, alice: Any) -> None:
    add_run(alice, cost_known=False)
    add_run(alice, cost_usd=Decimal("0.25"))
    costs = re.findall(r'class="[^"]*field-cost[^"]*"[^>]*>(.*?)</td>', staff.get(LIST).text, re.DOTALL)
    assert {re.sub("<[^>]*>", "", cost).strip() for cost in costs} == {"unknown", "0.2500"}


def test_cancelling_from_the_page(staff: httpx.Client, api: Api, alice: Any, upstream: Upstream) -> None:
    run_id = start_waiting_run(api, alice, upstream)
    page = staff.get(f"{LIST}{run_id}/change/")
    assert "Cancel this run" in page.text
    assert staff.get(f"{LIST}{run_id}/cancel/").status_code == 405
    asked = staff.post(
        f"{LIST}{run_id}/cancel/", data=fill_form(page, _selected_action=run_id, back_to_page="yes")
    ).text
    assert "Cancel these runs?" in asked and f'href="{LIST}{run_id}/change/"' in asked
    assert Run.objects.get(pk=run_id).cancel_requested_at is None
    assert (
        "1 run is being cancelled" in staff.post(f"{LIST}{run_id}/cancel/", data=fill_form(page, confirmed="yes")).text
    )
    assert upstream.client_gone.wait(5)
    assert until(lambda: Run.objects.get(pk=run_id).status == "cancelled", 5)


def test_cancelling_from_the_list(staff: httpx.Client, api: Api, alice: Any, upstream: Upstream) -> None:
    run_id = start_waiting_run(api, alice, upstream)
    upstream.respond_with(completion("all"))
    done = api.execute(alice).headers["X-Run-Id"]
    data = fill_form(staff.get(LIST), action="cancel_all", confirmed="yes", _selected_action=[run_id, done])
    assert "1 run is being cancelled" in staff.post(LIST, data=data).text
    assert until(lambda: Run.objects.get(pk=run_id).status == "cancelled", 5)
    assert Run.objects.get(pk=done).status == "succeeded"


def test_viewers_cannot_cancel(staff: httpx.Client, api: Api, alice: Any, upstream: Upstream) -> None:
    run_id = start_waiting_run(api, alice, upstream)
    User.objects.filter(is_staff=True).update(is_superuser=False)
    User.objects.get(is_staff=True).user_permissions.add(Permission.objects.get(codename="view_run"))
    page = staff.get(f"{LIST}{run_id}/change/")
    assert page.status_code == 200 and "Cancel this run" not in page.text
    assert staff.post(f"{LIST}{run_id}/cancel/", data=fill_form(page)).status_code == 403
    assert staff.get(f"{LIST}storage/").status_code == 200
    User.objects.get(is_staff=True).user_permissions.clear()
    assert staff.get(f"{LIST}storage/").status_code == 403
    assert Run.objects.get(pk=run_id).cancel_requested_at is None
    api.post(f"/runs/{run_id}/cancel", headers=api.as_(alice))


def test_storage(staff: httpx.Client) -> None:
    """Tables without statistics are not shown as empty."""
    page = staff.get(f"{LIST}storage/").text
    assert "runs_text_default" in page and "runs_step_default" in page
    assert "free 90 days" in page and re.search(r"\d\s(bytes|KB)", page)
    assert "not counted yet" in page and "storage/" in staff.get(LIST).text


def test_strangers_are_sent_to_the_login(api: Api, alice: Any) -> None:
    for path in (LIST, f"{LIST}storage/"):
        assert api.get(path, headers=api.as_(alice)).status_code == 302


@pytest.mark.parametrize(
    ("said", "fields"),
    [
        ("Counts: it succeeded.", {"charge": "settled"}),
        ("Counts while it is under way", {"charge": "reserved", "status": Status.RUNNING}),
        ("own provider key", {"charge": "exempt"}),
        (
            "failed before it showed any text (provider_timeout)",
            {"charge": "released", "error_code": "provider_timeout"},
        ),
        ("its process ended", {"charge": "released", "status": Status.INTERRUPTED}),
        ("before a provider had been asked", {"charge": "released", "status": Status.CANCELLED}),
        ("staff cancelled it", {"charge": "released", "status": Status.CANCELLED, "cancelled_by_staff": True}),
        ("showed text before it failed", {"charge": "settled", "status": Status.FAILED, "first_token_ms": 1}),
        ("showed text before it was cancelled", {"charge": "settled", "status": Status.CANCELLED, "first_token_ms": 1}),
        ("the request itself", {"charge": "settled", "status": Status.FAILED, "error_code": "output_limit_reached"}),
        ("after a provider had been asked", {"charge": "settled", "status": Status.CANCELLED}),
        ("before it was interrupted", {"charge": "settled", "status": Status.INTERRUPTED, "first_token_ms": 1}),
    ],
)
def test_why_a_run_counts(said: str, fields: dict[str, Any]) -> None:
    status = {"status": Status.FAILED} if fields["charge"] == "released" else {"status": Status.SUCCEEDED}
    assert said in charge_reasons.explain(Run(**{**status, **fields}))


def test_the_page_says_why_a_run_counts(staff: httpx.Client, alice: Any) -> None:
    run = add_run(alice, status=Status.FAILED, error_code="provider_error", charge="released")
    page = staff.get(f"{LIST}{run.pk}/change/").text
    assert read_field(page, "Quota").startswith("Does not count: the provider or the platform failed")
