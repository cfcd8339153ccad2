"""GET /auth/activity: the audit trail of the user's own account."""

import base64
from typing import Any
from urllib.parse import urlencode

import pytest

from accounts.auditlog import trail
from accounts.auditlog.trail import Action
from billing import grants
from testing.client import PASSWORD, Api, error


def activity(api: Api, headers: dict[str, str], **query: Any) -> Any:
    return api.get("/auth/activity", headers=headers, params=query).json()["data"]


def test_it_works(api: Api) -> None:
    new = {"email": "ann@example.com", "password": PASSWORD}
    made = api.post("/auth/signup", json=new, headers={"User-Agent": "curl/8", "X-Request-Id": "sign-up"})
    headers = {"Authorization": f"Bearer {made.json()['data']['token']}"}
    found = activity(api, headers)
    (event,) = found["events"]
    assert event.pop("at").endswith("Z") and event.pop("id").isdecimal()
    assert event == {
        **{"action": "account.signed_up", "actor": "you", "requestId": "sign-up"},
        **{"address": "127.0.0.1", "userAgent": "curl/8", "details": {}},
    }
    assert found["nextCursor"] is None


def test_newest_first_in_pages(api: Api, alice: Any) -> None:
    for n in range(5):
        trail.record_on_commit(Action.RUN_REFUSED, actor=alice, subject=alice, n=n)
    first = activity(api, api.as_(alice), limit=3)
    assert [event["details"]["n"] for event in first["events"]] == [4, 3, 2]
    trail.record_on_commit(Action.RUN_REFUSED, actor=alice, subject=alice, n=5)
    second = activity(api, api.as_(alice), limit=3, cursor=first["nextCursor"])
    assert [event["details"]["n"] for event in second["events"]] == [1, 0]


def test_actions_of_staff_show_neither_name_nor_address(api: Api, alice: Any, bob: Any) -> None:
    grants.set_tier(user=alice, tier="pro", actor=bob)
    grants.set_tier(user=alice, tier="team")
    events = activity(api, api.as_(alice))["events"]
    assert [(event["actor"], event["address"], event["userAgent"]) for event in events] == [
        *[(None, "", "")] * 3,  # the end of a grant, another one, and the tier it comes to
        *[("staff", "", "")] * 2,
    ]
    assert str(bob.pk) not in str(events)


def test_other_users_do_not_see_it(api: Api, alice: Any, charlie: Any) -> None:
    trail.record_on_commit(Action.RUN_REFUSED, actor=alice, subject=alice)
    assert activity(api, api.as_(charlie))["events"] == []


def test_an_api_key_cannot_read_it(api: Api, alice: Any) -> None:
    assert error(api.get("/auth/activity", headers=api.with_key(alice))) == (403, "scope_missing")


def test_an_invalid_cursor_is_refused(api: Api, alice: Any) -> None:
    response = api.get("/auth/activity", headers=api.as_(alice), params={"cursor": "x"})
    assert error(response) == (400, "validation_error")


@pytest.mark.parametrize("limit", ["0", "101", "-1", "1.5", "x", "", "[]", "9" * 30])
def test_an_invalid_limit_is_refused(api: Api, alice: Any, limit: str) -> None:
    response = api.get("/auth/activity", headers=api.as_(alice), params={"limit": limit})
    assert error(response) == (400, "validation_error")
    assert response.json()["fields"][0]["field"] == "limit"


@pytest.mark.parametrize("limit", ["000000001999999", "000000001" + "9" * 20, "9" * 3000])
def test_a_limit_in_disguise(api: Api, alice: Any, limit: str) -> None:
    response = api.get("/auth/activity", headers=api.as_(alice), params={"limit": limit})
    assert error(response) == (400, "validation_error")


@pytest.mark.parametrize("path", ["/auth/activity", "/runs"])
@pytest.mark.parametrize("position", ["abc", "a\x00", "2026-99-99"])
def test_a_forged_cursor(api: Api, alice: Any, path: str, position: str) -> None:
    cursor = base64.b64encode(urlencode({"p": position}).encode()).decode()
    response = api.get(path, headers=api.as_(alice), params={"cursor": cursor})
    assert error(response) == (400, "validation_error")
