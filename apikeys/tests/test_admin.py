"""Admin page of API keys."""

import re
from typing import Any

import httpx

from accounts.models import AuditEvent
from apikeys.models import ApiKey
from testing.client import Api, error


def test_staff_can_find_and_revoke(staff: httpx.Client, api: Api, alice: Any) -> None:
    headers = api.with_key(alice)
    api.get("/auth/me", headers=headers)
    key = ApiKey.objects.get()
    page = staff.get("/admin/apikeys/apikey/", params={"q": alice.email, "state": "active"}).text
    assert key.prefix in page and "1 result" in page
    detail = staff.get(f"/admin/apikeys/apikey/{key.pk}/change/").text
    assert "127.0.0.1" in detail and key.digest not in detail

    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
    form = {"csrfmiddlewaretoken": token and token[1], "action": "revoke", "_selected_action": [str(key.pk)]}
    asked = staff.post("/admin/apikeys/apikey/", data=form).text
    assert "Revoke these API keys?" in asked and key.prefix in asked
    assert api.get("/auth/me", headers=headers).status_code == 200
    assert "1 key is revoked" in staff.post("/admin/apikeys/apikey/", data=form | {"confirmed": "yes"}).text
    assert error(api.get("/auth/me", headers=headers)) == (401, "api_key_invalid")
    event = AuditEvent.objects.get(subject_id=alice.pk, action="key.revoked")
    assert event.actor_id not in (None, alice.pk)
    assert key.prefix in staff.get("/admin/apikeys/apikey/?state=ended").text


def test_staff_cannot_create_keys(staff: httpx.Client) -> None:
    assert staff.get("/admin/apikeys/apikey/add/").status_code == 403
