"""Staff who read prompts and answers leave an audit row that the owner sees."""

from typing import Any

import httpx
from django.contrib import admin

from accounts.models import User
from runs.models import Run
from testing.client import Api
from testing.loopback.upstream import Upstream


def test_it_works(api: Api, alice: Any, upstream: Upstream, staff: httpx.Client) -> None:
    run_id = api.execute(alice, context="my own text").headers["X-Run-Id"]
    page = staff.get(f"/admin/runs/run/{run_id}/change/").text
    assert "my own text" in page and "Hello world" in page

    activity = api.get("/auth/activity", headers=api.as_(alice)).json()["data"]["events"]
    (read,) = [event for event in activity if event["action"] == "run.read_by_staff"]
    assert (read["actor"], read["details"], read["address"]) == ("staff", {"run": run_id}, "")


def test_lists_show_no_texts_and_leave_none(api: Api, alice: Any, upstream: Upstream, staff: httpx.Client) -> None:
    api.execute(alice, context="my own text")
    root = User.objects.get(is_superuser=True)
    for path in ("runs/run/", f"accounts/user/{alice.pk}/change/", f"accounts/user/{root.pk}/change/", ""):
        page = staff.get(f"/admin/{path}")
        assert page.is_success and "my own text" not in page.text and "Hello world" not in page.text
    activity = api.get("/auth/activity", headers=api.as_(alice)).json()["data"]["events"]
    assert "run.read_by_staff" not in {event["action"] for event in activity}


def test_every_page_that_shows_texts_is_known() -> None:
    """Each model with users' texts has one page in the admin, which is audited."""
    with_texts = ("runs", "rag", "chains")
    shown = {model._meta.label for model in admin.site._registry if model._meta.app_label in with_texts}
    assert shown == {"runs.Run", "rag.Repository", "rag.IndexJob", "chains.ChainPreset"}
    assert Run in admin.site._registry
