"""The API requires the second factor with a password, and to create a key."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from accounts.auditlog.trail import Action
from accounts.models import AuditEvent, User
from accounts.signin import lockout, signed_tokens
from accounts.tests.test_second_factor import forget_delays
from apikeys.models import ApiKey
from testing.client import PASSWORD, Api, error
from testing.second_factor import current_code

NEW = "a much better one 77"
Call = Callable[..., httpx.Response]


@pytest.fixture
def olga(make_user: Any) -> Any:
    """Return an operator with a second factor, who is not the only superuser."""
    make_user("other", is_staff=True, is_superuser=True)
    user = make_user("olga", is_staff=True, is_superuser=True)
    current_code(user)
    return user


def log_in(api: Api, user: Any, password: str = PASSWORD, **sent: Any) -> httpx.Response:
    headers = sent.pop("headers", {})
    return api.post("/auth/login", json={"email": user.email, "password": password, **sent}, headers=headers)


def change(api: Api, user: Any, password: str = PASSWORD, **sent: Any) -> httpx.Response:
    headers = {**api.as_(user), **sent.pop("headers", {})}
    return api.post(
        "/auth/password/change", json={"currentPassword": password, "newPassword": NEW, **sent}, headers=headers
    )


def make_key(api: Api, user: Any, **sent: Any) -> httpx.Response:
    headers = {**api.as_(user), **sent.pop("headers", {})}
    return api.post("/api-keys", json={"name": "ci", **sent}, headers=headers)


def delete(api: Api, user: Any, password: str = PASSWORD, **sent: Any) -> httpx.Response:
    headers = {**api.as_(user), **sent.pop("headers", {})}
    return api.request("DELETE", "/auth/me", json={"password": password, **sent}, headers=headers)


GUARDED = [log_in, change, make_key, delete]


@pytest.mark.parametrize("call", GUARDED)
@pytest.mark.parametrize("place", ["body", "header"])
def test_it_works(api: Api, olga: Any, call: Call, place: str) -> None:
    assert error(call(api, olga)) == (401, "otp_required")
    assert error(call(api, olga, otp=None)) == (401, "otp_required")
    code = current_code(olga)
    sent = {"otp": f"{code[:3]} {code[3:]}"} if place == "body" else {"headers": {"X-OTP": code}}
    assert call(api, olga, **sent).is_success


@pytest.mark.parametrize("call", GUARDED)
def test_a_wrong_code(api: Api, olga: Any, call: Call) -> None:
    wrong = f"{(int(current_code(olga)) + 1) % 1_000_000:06}"
    assert error(call(api, olga, otp=wrong)) == (401, "otp_invalid")
    forget_delays(olga)
    body_goes_first = call(api, olga, otp=wrong, headers={"X-OTP": current_code(olga)})
    assert error(body_goes_first) == (401, "otp_invalid")
    olga.refresh_from_db()
    assert olga.is_active and olga.check_password(PASSWORD) and not ApiKey.objects.filter(user=olga).exists()


@pytest.mark.parametrize("call", GUARDED)
def test_a_backup_code_is_valid_once(api: Api, olga: Any, call: Call) -> None:
    device = StaticDevice.objects.create(user=olga, name="backup codes")
    StaticToken.objects.create(device=device, token="abcd2345")
    assert call(api, olga, otp="ABCD2345").is_success
    assert not StaticToken.objects.filter(device_id=device.pk).exists()


def test_a_code_is_valid_once_across_endpoints(api: Api, olga: Any) -> None:
    code = current_code(olga)
    assert log_in(api, olga, otp=code).is_success
    for call in (log_in, change, make_key, delete):
        assert error(call(api, olga, otp=code)) == (401, "otp_invalid")
        forget_delays(olga)


@pytest.mark.parametrize("call", [log_in, change, delete])
def test_a_wrong_password_says_nothing_about_the_factor(api: Api, olga: Any, call: Call) -> None:
    code = current_code(olga)
    status, name = error(call(api, olga, password="wrong", otp=code))
    assert (status, name) in ((401, "invalid_credentials"), (403, "wrong_password"))
    assert call(api, olga, otp=code).is_success  # the code was not looked at


@pytest.mark.parametrize("call", GUARDED)
@pytest.mark.parametrize("code", ["", "000000"])
def test_failures_end_in_a_lockout(api: Api, olga: Any, at: Any, settings: Any, call: Call, code: str) -> None:
    at("127.0.0.1")
    for _ in range(settings.LOCKOUT_FAILURES - 1):
        lockout.count_attempt(olga.email)
    assert error(call(api, olga, otp=code))[0] == 401
    assert lockout.count_attempt(olga.email) is None
    assert AuditEvent.objects.filter(action=Action.LOCKED_OUT, subject_id=olga.pk).count() == 1
    forget_delays(olga)
    assert not call(api, olga, otp=current_code(olga)).is_success


def test_a_weak_new_password_uses_up_no_code(api: Api, olga: Any) -> None:
    code = current_code(olga)
    sent = {"currentPassword": PASSWORD, "newPassword": "password1", "otp": code}
    assert error(api.post("/auth/password/change", json=sent, headers=api.as_(olga))) == (400, "validation_error")
    assert change(api, olga, otp=code).is_success


def test_calls_with_a_key_need_no_code(api: Api, olga: Any) -> None:
    key = api.with_key(olga, "keys", "agents")
    assert api.get("/api-keys", headers=key).is_success
    assert api.post("/api-keys", json={"name": "second"}, headers=key).status_code == 201


def test_revoking_a_key_needs_no_code(api: Api, olga: Any) -> None:
    api.with_key(olga)
    mine = api.get("/api-keys", headers=api.as_(olga)).json()["data"]["keys"][0]["id"]
    assert api.delete(f"/api-keys/{mine}", headers=api.as_(olga)).is_success


def test_accounts_without_a_factor_need_no_code(api: Api, alice: Any) -> None:
    assert log_in(api, alice).is_success and make_key(api, alice, otp="000000").is_success
    assert delete(api, alice).is_success


def test_a_reset_by_mail_leaves_it_on(api: Api, olga: Any) -> None:
    token = signed_tokens.sign(signed_tokens.PASSWORD_RESET, olga)
    assert api.post("/auth/password/reset", json={"token": token, "password": NEW}).is_success
    assert TOTPDevice.objects.filter(user=olga, confirmed=True).exists()
    assert error(log_in(api, olga, password=NEW)) == (401, "otp_required")


def test_a_repeated_request_for_a_key_needs_a_fresh_code(api: Api, olga: Any) -> None:
    sent = {"headers": {"Idempotency-Key": "once"}}
    first = make_key(api, olga, otp=current_code(olga), headers=dict(sent["headers"]))
    assert error(make_key(api, olga, headers=dict(sent["headers"]))) == (401, "otp_required")
    device = StaticDevice.objects.create(user=olga, name="backup codes")
    StaticToken.objects.create(device=device, token="abcd2345")
    again = make_key(api, olga, otp="abcd2345", headers=dict(sent["headers"]))
    assert again.json()["data"]["key"] == first.json()["data"]["key"]


def test_an_account_with_the_factor_is_deleted_with_it(api: Api, olga: Any) -> None:
    assert delete(api, olga, otp=current_code(olga)).is_success
    assert not User.objects.filter(pk=olga.pk).exists()
