"""The audit trail of exceeded rate limits."""

from typing import Any

from accounts.models import AuditEvent
from testing.client import PASSWORD, Api
from testing.windows import address_with_time_left, user_with_time_left


def test_it_is_in_the_audit_trail_once(api: Api, make_user: Any) -> None:
    user = user_with_time_left(make_user)
    statuses = [api.get("/auth/me", headers=api.as_(user)).status_code for _ in range(65)]
    assert statuses == [200] * 60 + [429] * 5
    (event,) = AuditEvent.objects.filter(subject_id=user.pk)
    assert (event.action, event.actor_id, event.details) == ("rate.exceeded", user.pk, {"limit": 60})


def test_guessing_passwords_is_in_the_audit_trail_once(api: Api, database: None) -> None:
    address = address_with_time_left(300)
    with api.from_address(address) as client:
        body = {"email": "nobody@example.com", "password": PASSWORD}
        statuses = [client.post("/auth/login", json=body).status_code for _ in range(12)]
    assert statuses == [401] * 10 + [429] * 2
    event = AuditEvent.objects.filter(action="rate.exceeded", origin__address=address).first()
    assert event
    assert (event.subject_id, event.details) == (None, {"limit": 10, "endpoint": "login"})
