"""POST /auth/verify, POST /auth/verify/resend, and LUNAOS_REQUIRE_VERIFIED_EMAIL."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from accounts.auditlog.trail import Action
from accounts.errors import MailTokenInvalid
from accounts.models import AuditEvent, User
from accounts.signin import signed_tokens
from testing.client import PASSWORD, Api, answer, error
from testing.loopback.upstream import Upstream
from testing.mailbox import Mailbox, get_text, get_token
from testing.servers import daphne


@pytest.fixture(scope="module")
def strict_url(
    django_db_setup: None, django_db_blocker: Any, folder: Path, provider_environment: dict[str, str]
) -> Iterator[str]:
    """Return a web process that runs nothing for unconfirmed addresses."""
    changes = {"LUNAOS_REQUIRE_VERIFIED_EMAIL": "true", **provider_environment}
    with django_db_blocker.unblock(), daphne(folder / "strict.log", **changes) as url:
        yield url


@pytest.fixture
def strict(database: None, strict_url: str) -> Iterator[Api]:
    with Api(base_url=strict_url, timeout=30) as client:
        yield client


def token_of(user: Any) -> str:
    return signed_tokens.sign(signed_tokens.VERIFICATION, user)


def verified(user: Any) -> bool:
    return User.objects.filter(pk=user.pk).exclude(email_verified_at=None).exists()


def test_it_works(api: Api, mailbox: Mailbox) -> None:
    api.post("/auth/signup", json={"email": "verified@example.com", "password": PASSWORD})
    user = User.objects.get(email="verified@example.com")
    assert not verified(user)
    (mail,) = mailbox.of(user)
    assert api.post("/auth/verify", json={"token": get_token(mail)}).status_code == 200
    assert verified(user)
    assert AuditEvent.objects.filter(action=Action.EMAIL_VERIFIED, subject_id=user.pk).count() == 1


def test_a_token_is_valid_once_also_in_parallel(api: Api, alice: Any) -> None:
    token = token_of(alice)
    with ThreadPoolExecutor(6) as pool:
        responses = list(pool.map(lambda _: api.post("/auth/verify", json={"token": token}), range(6)))
    assert sorted(response.status_code for response in responses) == [200] + [400] * 5
    assert error(api.post("/auth/verify", json={"token": token})) == (400, "mail_token_invalid")
    assert AuditEvent.objects.filter(action=Action.EMAIL_VERIFIED, subject_id=alice.pk).count() == 1


def test_another_address_needs_another_token(api: Api, alice: Any) -> None:
    token = token_of(alice)
    User.objects.filter(pk=alice.pk).update(email="moved@example.com")
    assert error(api.post("/auth/verify", json={"token": token})) == (400, "mail_token_invalid")
    assert not verified(alice)


def test_an_address_that_staff_change_is_not_confirmed(api: Api, alice: Any, staff: httpx.Client) -> None:
    session = api.as_(alice)
    api.post("/auth/verify", json={"token": token_of(alice)})
    page = f"/admin/accounts/user/{alice.pk}/change/"
    staff.get(page)
    form = {"email": "Moved@example.com", "name": "Alice", "is_active": "on"}
    staff.post(page, data={**form, "csrfmiddlewaretoken": staff.cookies["csrftoken"]})
    alice.refresh_from_db()
    assert (alice.email, alice.email_verified_at) == ("moved@example.com", None)
    assert error(api.get("/auth/me", headers=session)) == (401, "token_invalid")


def test_mails_to_an_unconfirmed_address_have_no_text_of_the_sign_up(api: Api, mailbox: Mailbox) -> None:
    form = {"email": "victim@example.com", "password": PASSWORD, "name": "You won: evil.example"}
    api.post("/auth/signup", json=form)
    user = User.objects.get(email="victim@example.com")
    api.post("/auth/password/forgot", json={"email": user.email})
    welcome, reset = mailbox.of(user)
    assert "evil" not in get_text(welcome) + get_text(reset)

    api.post("/auth/verify", json={"token": token_of(user)})
    api.post("/auth/password/forgot", json={"email": user.email})
    assert get_text(mailbox.of(user)[-1]).startswith("Hello You won: evil.example,")


def test_seven_days(alice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    token, now = token_of(alice), time.time()
    monkeypatch.setattr(time, "time", lambda: now + 7 * 24 * 3600 + 5)
    with pytest.raises(MailTokenInvalid):
        signed_tokens.read(signed_tokens.VERIFICATION, token)


def test_a_token_for_another_purpose_is_refused(api: Api, alice: Any) -> None:
    token = signed_tokens.sign(signed_tokens.PASSWORD_RESET, alice)
    assert error(api.post("/auth/verify", json={"token": token})) == (400, "mail_token_invalid")


def test_the_token_can_be_mailed_again(api: Api, alice: Any, mailbox: Mailbox) -> None:
    answers = {api.post("/auth/verify/resend", headers=api.as_(alice)).content for _ in range(5)}
    mails = mailbox.of(alice)
    assert len(answers) == 1 and len(mails) == 3
    assert api.post("/auth/verify", json={"token": get_token(mails[0])}).status_code == 200


def test_a_confirmed_address_gets_no_more_mails(api: Api, alice: Any, mailbox: Mailbox) -> None:
    api.post("/auth/verify", json={"token": token_of(alice)})
    assert api.post("/auth/verify/resend", headers=api.as_(alice)).status_code == 202
    assert mailbox.of(alice) == []


def test_a_request_without_a_token_sends_no_mail(api: Api, database: None) -> None:
    assert error(api.post("/auth/verify/resend")) == (401, "not_authenticated")


def test_runs_need_it_if_the_setting_says_so(strict: Api, alice: Any, upstream: Upstream) -> None:
    assert error(strict.execute(alice)) == (403, "email_not_verified")
    assert error(strict.execute_chain(alice, "code-review")) == (403, "email_not_verified")
    strict.post("/auth/verify", json={"token": token_of(alice)})
    assert answer(strict.execute(alice)) == "Hello world"


def test_other_checks_come_before_and_after_it(strict: Api, alice: Any, upstream: Upstream) -> None:
    assert error(strict.execute(alice, agent="unknown")) == (404, "unknown_agent")
    assert error(strict.execute(alice, agent="seo")) == (403, "email_not_verified")
    assert error(strict.execute(alice, provider="anthropic")) == (403, "email_not_verified")
    assert upstream.requests == []


def test_runs_do_not_need_it_by_default(api: Api, alice: Any, upstream: Upstream) -> None:
    assert answer(api.execute(alice)) == "Hello world"
