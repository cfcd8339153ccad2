"""The admin's lists as CSV: filtered, by permission, audited, without secrets."""

import asyncio
import csv
import io
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import Mock

import httpx
import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.test import Client

from accounts.auditlog.trail import Action
from accounts.models import AuditEvent
from accounts.staff.exporting_admin import ExportableAdmin
from runs import admin as runs_admin
from runs.models import RunText, Status
from runs.tests.test_stats import add_run
from web.tests.test_admin_queries import MAKE, staff_client

__all__ = ["staff_client"]

EXPORTED = {
    f"{model._meta.app_label}/{model._meta.model_name}": page
    for model, page in admin.site._registry.items()
    if isinstance(page, ExportableAdmin)
}
NEVER = re.compile("digest|sealed|password|salt|input$|output$|prompt|events|secret|error$|skipped|stripe_data")


def export(client: Client, page: str, query: str = "") -> list[dict[str, str]]:
    response = client.post(f"/admin/{page}/export/?{query}")
    assert response.status_code == 200 and response["Content-Type"].startswith("text/csv")
    return list(csv.DictReader(io.StringIO(content(response))))


def content(response: Any) -> str:
    async def read() -> bytes:
        return b"".join([piece async for piece in response])

    return asyncio.run(read()).decode()


def written() -> dict[str, Any]:
    event = AuditEvent.objects.filter(action=Action.ADMIN_EXPORTED)[0]
    assert event.actor_id
    return dict(event.details)


def test_it_works(staff: httpx.Client, alice: Any, bob: Any) -> None:
    """Over the wire, as a browser sends the button."""
    add_run(alice, status=Status.FAILED, error_code="provider_error")
    add_run(bob)
    page = staff.get("/admin/runs/run/", params={"status__exact": "failed"}).text
    form = re.search(r'action="(/admin/runs/run/export/[^"]*)">\s*<input[^>]*value="([^"]+)"', page)
    assert form
    response = staff.post(form[1], data={"csrfmiddlewaretoken": form[2]})
    [row] = csv.DictReader(io.StringIO(response.text))
    assert (row["user_email"], row["error_code"]) == (alice.email, "provider_error")
    assert re.search(r'filename="runs-\d{4}-\d\d-\d\d\.csv"', response.headers["Content-Disposition"])
    assert written() == {"object": "runs.run", "filter": {"status__exact": "failed"}, "rows": 1}


def test_the_lists_are_these() -> None:
    assert set(EXPORTED) == {
        *(
            "accounts/user",
            "accounts/auditevent",
            "apikeys/apikey",
            "runs/run",
            "rag/repository",
            "rag/indexjob",
            "refusals/refusal",
        ),
        *("billing/grant", "billing/monthlyusage", "djstripe/subscription", "djstripe/invoice"),
    }


@pytest.mark.parametrize("page", EXPORTED)
def test_every_list(staff_client: Client, alice: Any, page: str) -> None:
    MAKE[page](alice, 1)
    rows = export(staff_client, page)
    assert any(alice.email in row.values() or str(alice.pk) in row.values() for row in rows)
    assert [name for name in EXPORTED[page].export_columns if NEVER.search(name)] == []


def test_exported_runs_have_error_and_usage(staff_client: Client, alice: Any) -> None:
    """Behind the columns of earlier releases, which keep their places."""
    stored: dict[str, Any] = {"reasoning_tokens": 96, "cache_read_tokens": 640, "cache_write_tokens": 32}
    stored |= {"tokens_estimated": True, "cost_known": False, "provider_status": 429, "cancelled_by_staff": True}
    add_run(alice, **stored)
    [row] = export(staff_client, "runs/run")
    assert list(row.items())[-9:] == [
        *(("reasoning_tokens", "96"), ("cache_read_tokens", "640"), ("cache_write_tokens", "32")),
        *(("tokens_estimated", "true"), ("cost_known", "false")),
        *(("provider_status", "429"), ("cancelled_by_staff", "true")),
        *(("api_key_id", ""), ("api_key_prefix", "")),
    ]


def test_all_of_a_filter_not_only_its_page(staff_client: Client, alice: Any, bob: Any) -> None:
    now = datetime.now(UTC)
    mine = [str(add_run(alice, now - timedelta(minutes=n)).pk) for n in range(60)]
    add_run(bob)
    rows = export(staff_client, "runs/run", f"user__id__exact={alice.pk}")
    assert [row["id"] for row in rows] == mine
    assert written()["filter"] == {"user__id__exact": str(alice.pk)}


def test_a_date_is_a_filter(staff_client: Client, alice: Any) -> None:
    add_run(alice, datetime(2026, 1, 31, 23, 59, tzinfo=UTC))
    add_run(alice, datetime(2026, 2, 1, tzinfo=UTC))
    [row] = export(staff_client, "runs/run", "created_at__year=2026&created_at__month=2")
    assert row["created_at"] == "2026-02-01T00:00:00+00:00"
    assert written()["filter"] == {"created_at__month": "2", "created_at__year": "2026"}


def test_the_exported_audit_trail_holds_no_names(staff_client: Client, alice: Any) -> None:
    export(staff_client, "accounts/user", f"q={alice.email}")
    assert written()["filter"] == {"q": "…"}
    export(staff_client, "accounts/user", f"email={alice.email}&tier=free")
    assert written()["filter"] == {"email": "…", "tier": "free"}


def test_no_text_of_a_run(staff_client: Client, alice: Any) -> None:
    run = add_run(alice)
    RunText.objects.create(run_id=run.pk, expires_at=run.expires_at, input="asked-in-trust", output="said-in-trust")
    text = content(staff_client.post("/admin/runs/run/export/"))
    assert str(run.pk) in text and "in-trust" not in text


def test_a_filter_that_is_none(staff_client: Client) -> None:
    response = staff_client.post("/admin/runs/run/export/?created_at__year=never")
    assert (response.status_code, response["Location"]) == (302, "/admin/runs/run/")
    assert not AuditEvent.objects.filter(action=Action.ADMIN_EXPORTED, details__rows=0).exists()


def test_one_list_at_once(staff_client: Client, alice: Any) -> None:
    """Until the first has been read or its client has left."""
    add_run(alice)
    first = staff_client.post("/admin/runs/run/export/")
    rows = AuditEvent.objects.filter(action=Action.ADMIN_EXPORTED).count()

    refused = staff_client.post("/admin/accounts/user/export/", follow=True)
    assert refused.redirect_chain == [("/admin/accounts/user/", 302)]
    assert "another list is being sent to you" in refused.content.decode()
    assert AuditEvent.objects.filter(action=Action.ADMIN_EXPORTED).count() == rows

    assert content(first)
    assert export(staff_client, "accounts/user")
    staff_client.post("/admin/runs/run/export/").close()
    assert export(staff_client, "accounts/user")


def test_a_failed_export_frees_its_slot(staff_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(ExportableAdmin, "rows_to_export", Mock(side_effect=RuntimeError))
        with pytest.raises(RuntimeError):
            staff_client.post("/admin/rag/repository/export/")
    assert staff_client.post("/admin/accounts/user/export/").status_code == 200


def test_a_link_alone_exports_nothing(staff_client: Client) -> None:
    assert staff_client.get("/admin/runs/run/export/").status_code == 405


def test_viewing_does_not_permit_exporting(make_user: Any, settings: Any) -> None:
    settings.STAFF_SECOND_FACTOR = False
    clerk, client = make_user("clerk", is_staff=True), Client()
    client.force_login(clerk, backend="django.contrib.auth.backends.ModelBackend")
    for codename in ("view_run", "export_lists"):
        assert client.post("/admin/runs/run/export/").status_code == 403
        clerk.user_permissions.add(Permission.objects.get(codename=codename))
        shown = client.get("/admin/runs/run/").content.decode()
        assert ("Export as CSV" in shown) == (codename == "export_lists")
    assert client.post("/admin/runs/run/export/").status_code == 200
    assert client.post("/admin/accounts/user/export/").status_code == 403


def test_a_search_that_finds_too_many_people_exports_nothing(
    staff_client: Client, make_user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would look complete."""
    monkeypatch.setattr(runs_admin, "MAX_OWNERS_SEARCHED", 1)
    for _ in range(2):
        make_user("twin")
    before = AuditEvent.objects.filter(action=Action.ADMIN_EXPORTED).count()
    response = staff_client.post("/admin/runs/run/export/?q=twin", follow=True)
    assert "Nothing was exported. More than 1 addresses" in response.content.decode()
    assert AuditEvent.objects.filter(action=Action.ADMIN_EXPORTED).count() == before
