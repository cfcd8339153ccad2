"""POST /auth/signup."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from accounts.auditlog.trail import Action
from accounts.models import AuditEvent, User
from testing.client import PASSWORD, Api, error
from testing.mailbox import Mailbox, get_text
from testing.windows import address_with_time_left

NEW = {"email": "New.Person@Example.com", "password": PASSWORD, "name": "New"}


def test_it_works(api: Api) -> None:
    response = api.post("/auth/signup", json=NEW)

    assert response.status_code == 201
    data = response.json()["data"]
    user = User.objects.get()
    assert data["user"] == {"id": str(user.pk), "email": "new.person@example.com", "name": "New", "tier": "free"}
    assert user.password.startswith("argon2$argon2id$v=19$m=19456,t=2,p=1$")
    assert PASSWORD not in user.password
    me = api.get("/auth/me", headers={"Authorization": f"Bearer {data['token']}"})
    assert me.json()["data"]["email"] == "new.person@example.com"


def test_name_is_optional(api: Api) -> None:
    response = api.post("/auth/signup", json={"email": "a@example.com", "password": PASSWORD})
    assert response.json()["data"]["user"]["name"] == ""


def test_a_name_in_any_writing(api: Api) -> None:
    """Joiners and accents are no control characters."""
    name = "Zoë نام\u200cخانوادگی 👩\u200d💻 O'Neill-Müller"
    response = api.post("/auth/signup", json={**NEW, "name": f" {name}\n"})
    assert response.json()["data"]["user"]["name"] == name


def test_an_address_exists_once_in_any_letter_case(api: Api) -> None:
    api.post("/auth/signup", json=NEW)
    response = api.post("/auth/signup", json={**NEW, "email": "NEW.person@example.COM"})
    assert error(response) == (409, "email_taken")


def test_of_parallel_sign_ups_with_one_address_one_wins(api: Api) -> None:
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: api.post("/auth/signup", json=NEW).status_code, range(8)))
    assert sorted(statuses) == [201] + [409] * 7
    user = User.objects.get()
    assert AuditEvent.objects.filter(action=Action.SIGNED_UP, subject_id=user.pk).count() == 1


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"email": "no address"}, "email"),
        ({"email": "a" * 250 + "@example.com"}, "email"),
        ({"email": None}, "email"),
        ({"password": "short7!"}, "password"),
        ({"password": "x" * 129}, "password"),
        ({"password": "password123"}, "password"),
        ({"password": "8362940175"}, "password"),
        ({"password": "new.person"}, "password"),
        ({"name": "x" * 101}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"name": "Ann\nYou have won"}, "name"),
        ({"name": "Ann\u2028You have won"}, "name"),
        ({"name": "\x1b[31mAnn"}, "name"),
        ({"email": ["list@example.com"]}, "email"),
    ],
)
def test_invalid_input_names_its_field(api: Api, change: dict[str, Any], field: str) -> None:
    response = api.post("/auth/signup", json={**NEW, **change})

    assert error(response) == (400, "validation_error")
    assert {entry["field"] for entry in response.json()["fields"]} == {field}
    assert all(entry["message"] and entry["code"] for entry in response.json()["fields"])
    assert not User.objects.exists()


def test_eleven_attempts_from_one_address_are_one_too_many(api: Api) -> None:
    with api.from_address(address_with_time_left(300)) as client:
        statuses = [client.post("/auth/signup", json={}).status_code for _ in range(10)]
        response = client.post("/auth/signup", json=NEW)

    assert statuses == [400] * 10
    assert error(response) == (429, "rate_limited")
    assert 0 < int(response.headers["Retry-After"]) <= 300
    assert not User.objects.exists()


def test_a_worker_sends_the_welcome_mail(api: Api, mailbox: Mailbox) -> None:
    assert api.post("/auth/signup", json={**NEW, "email": "mailed@example.com"}).status_code == 201
    (mail,) = mailbox.of(User.objects.get(email="mailed@example.com"))
    assert get_text(mail).startswith("Hello,\n")  # not by name, which anybody could have chosen
    assert PASSWORD not in get_text(mail)
