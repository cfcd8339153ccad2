"""The admin's search box leads to the pages that the searcher's role opens."""

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client

from accounts.auditlog import trail
from accounts.auditlog.trail import Action
from apikeys import services
from billing import invoices
from lunaos.infra import client_info
from refusals.models import Refusal
from runs.models import Status
from runs.tests.test_stats import add_run
from web.tests.test_admin_queries import FEW, MANY, invoice, queries, staff_client

__all__ = ["staff_client"]


def find(client: Client, text: str) -> str:
    """Return the page that a text leads to, as the form sends it."""
    response = client.post("/admin/find/", {"q": text}, follow=True)
    assert response.status_code == 200
    return response.content.decode()


def refuse(user: Any, **fields: Any) -> Refusal:
    usual = {"minute": datetime.now(UTC), "code": "quota_exceeded", "count": 1, "message": "All is used."}
    return Refusal.objects.create(user=user, **usual | fields)


def test_it_works(staff_client: Client, alice: Any) -> None:
    """One request id finds the run, the refusal and the audit row."""
    request_id = "ticket-4711"
    run = add_run(alice, request_id=request_id, status=Status.FAILED, error_code="provider_error")
    refusal = refuse(alice, first_request_id=request_id, last_request_id="another")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(client_info, "request_id", lambda: request_id)
        trail.record_on_commit(Action.RUN_REFUSED, actor=alice, subject=alice, reason="quota_exceeded")
    page = find(staff_client, f" {request_id} ")
    for path in (f"runs/run/{run.pk}", f"refusals/refusal/{refusal.pk}", "accounts/auditevent/"):
        assert f"/admin/{path}" in page, path
    assert "seo, failed (provider_error)" in page and "All is used." in page and "run.refused" in page
    for path in (f"runs/run/{run.pk}", f"refusals/refusal/{refusal.pk}"):  # and back
        assert f"/admin/find/?q={request_id}" in staff_client.get(f"/admin/{path}/change/").content.decode()


def test_people_and_runs(staff_client: Client, alice: Any, bob: Any) -> None:
    run = add_run(alice)
    assert f"/admin/accounts/user/{alice.pk}/" in find(staff_client, alice.email.upper())
    assert f"/admin/accounts/user/{alice.pk}/" in find(staff_client, str(alice.pk))
    assert f"/admin/runs/run/{run.pk}/" in find(staff_client, str(run.pk))
    assert bob.email not in find(staff_client, alice.email)


@pytest.mark.parametrize("text", ["{prefix}", "{key}", "Authorization: Bearer {key}", "{short}"])
def test_keys(staff_client: Client, alice: Any, text: str) -> None:
    """A whole key is cut to its beginning before it can be a part of a URL."""
    made = services.create(user=alice, name="CI")
    sent = text.format(prefix=made.key.prefix, key=made.secret, short=made.key.prefix[:-3])
    response = staff_client.post("/admin/find/", {"q": sent})
    assert response.status_code == 302 and made.secret[len(made.key.prefix) :] not in response["Location"]
    page = staff_client.get(response["Location"]).content.decode()
    assert f"/admin/apikeys/apikey/{made.key.pk}/" in page and f"active, of {alice.email}" in page
    assert made.secret not in page


def test_a_key_in_the_address_bar_is_cut(staff_client: Client, alice: Any) -> None:
    made = services.create(user=alice, name="CI")
    response = staff_client.get("/admin/find/", {"q": made.secret})
    assert response["Location"] == f"/admin/find/?q={made.key.prefix}"


def test_invoices(staff_client: Client, alice: Any) -> None:
    row = invoice(alice, 1)
    row.stripe_data["number"] = "ABCD1234-0007"
    row.save()
    for text in ("ABCD1234-0007", "abcd1234-0007", row.id):
        page = find(staff_client, text)
        assert f"/admin/djstripe/invoice/{row.pk}/" in page and f"open, of {alice.email}" in page


def test_an_invoice_is_found_by_its_index(staff_client: Client, alice: Any) -> None:
    """The expression of the query is the one of `web.0004`."""
    invoice(alice, 1)
    rows = invoices._matching("x")
    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")
        try:
            assert "invoices_by_number" in rows.explain()
        finally:
            cursor.execute("RESET enable_seqscan")


@pytest.mark.parametrize("text", ["", "  ", "ab", "what is this?", "eyJ" + "x" * 300, "a\0b"])
def test_what_is_not_searched(staff_client: Client, text: str) -> None:
    response = staff_client.post("/admin/find/", {"q": text})
    assert response.status_code == 200 and "/admin/runs/run/" in response.content.decode()
    assert ("This is not searched for." in response.content.decode()) == bool(text.strip())


def test_nothing_is_found(staff_client: Client) -> None:
    page = find(staff_client, str(uuid.uuid4()))
    assert "Nothing is found for" in page and "Searched: Users, API keys, Runs" in page


def test_a_role_finds_what_it_may_view(make_user: Any, alice: Any, settings: Any) -> None:
    settings.STAFF_SECOND_FACTOR = False
    clerk, client = make_user("clerk", is_staff=True), Client()
    client.force_login(clerk, backend="django.contrib.auth.backends.ModelBackend")
    run = add_run(alice, request_id="shared")
    refusal = refuse(alice, last_request_id="shared")
    assert "Nothing is found for" in find(client, "shared")
    clerk.user_permissions.add(Permission.objects.get(codename="view_refusal"))
    page = find(client, "shared")
    assert str(refusal.pk) in page and str(run.pk) not in page
    assert "Nothing is found for" in find(client, alice.email)


@pytest.mark.parametrize("method", ["get", "post"])
def test_only_staff_search(alice: Any, method: str) -> None:
    client = Client()
    client.force_login(alice, backend="django.contrib.auth.backends.ModelBackend")
    response = getattr(client, method)("/admin/find/", {"q": alice.email})
    assert response.status_code == 302 and response["Location"].startswith("/admin/login/")


def test_a_search_takes_a_fixed_number_of_queries(staff_client: Client, make_user: Any) -> None:
    for _ in range(FEW):
        add_run(make_user(), request_id="many")
        refuse(make_user(), first_request_id="many")
    before = queries(staff_client, "/admin/find/?q=many")
    for _ in range(FEW, MANY):
        add_run(make_user(), request_id="many")
        refuse(make_user(), first_request_id="many")
    assert queries(staff_client, "/admin/find/?q=many") == before <= 10


def test_the_box_is_for_those_who_are_in(staff_client: Client, settings: Any) -> None:
    settings.STAFF_SECOND_FACTOR = True
    assert "/admin/find/" not in staff_client.get("/admin/second-factor/").content.decode()
    assert staff_client.get("/admin/find/?q=shared").status_code == 302


def test_the_box_is_on_each_page(staff_client: Client, alice: Any) -> None:
    for path in ("/admin/", "/admin/accounts/user/", f"/admin/accounts/user/{alice.pk}/change/"):
        assert 'action="/admin/find/"' in staff_client.get(path).content.decode(), path
