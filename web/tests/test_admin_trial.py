"""POST /admin/agents/agent/try/: a prompt is tried before it is saved."""

import json
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import Group
from django.test import Client

from accounts.models import AuditEvent, User
from accounts.signin import sessions
from agents import trial
from agents.models import Agent
from lunaos.embedded.servers import until
from runs.models import Run
from testing.client import error, events, parse
from testing.loopback.upstream import DONE, Answer, Upstream, completion, delta

PATH = "/admin/agents/agent/try/"
FORM = {
    "agent": "seo",
    "target": "openai/gpt-4o-mini",
    "context": "<title>",
    "prompt": "Say it in verse.",
    "temperature": "0.7",
    "max_tokens": "4096",
}
Ask = Callable[..., httpx.Response]


@pytest.fixture
def token(staff: httpx.Client) -> str:
    page = staff.get(f"/admin/agents/agent/{Agent.objects.get(slug='seo').pk}/change/").text
    found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
    assert found
    return found[1]


@pytest.fixture
def ask(staff: httpx.Client, token: str) -> Ask:
    def post(**changes: str) -> httpx.Response:
        return staff.post(PATH, data={**FORM, **changes, "csrfmiddlewaretoken": token})

    return post


@pytest.fixture
def before(database: None) -> int:
    """Skip the audit rows of other tests, since the trail is never cleared."""
    return AuditEvent.objects.count()  # they are numbered without gaps


def newest(before: int) -> dict[str, Any]:
    rows = AuditEvent.objects.filter(action="agent.tried", pk__gt=before)
    assert until(rows.exists, 10)
    return dict(rows[0].details)


def test_it_works(ask: Ask, upstream: Upstream, before: int) -> None:
    response = ask()
    assert response.headers["Content-Type"] == "text/event-stream"
    start, *chunks, done = events(response)
    assert start == {"type": "start", "agent": "seo", "model": "gpt-4o-mini", "provider": "openai"}
    assert "".join(each["content"] for each in chunks) == "Hello world"
    assert (done["tokens"]["input"], done["tokens"]["output"], done["tokens"]["estimated"]) == (11, 7, False)
    assert done["cost"].startswith("$") and "costKnown" not in done
    [asked] = upstream.requests
    assert [each["content"] for each in asked["messages"]] == ["Say it in verse.", "<title>"]
    assert (asked["model"], asked["temperature"], asked["max_tokens"]) == ("gpt-4o-mini", 0.7, trial.MAX_ANSWER_TOKENS)
    row = newest(before)
    assert float(row.pop("cost_usd")) > 0
    assert row == {
        **{"agent": "seo", "provider": "openai", "model": "gpt-4o-mini", "outcome": "succeeded"},
        **{"input_tokens": 11, "output_tokens": 7},
    }
    assert not Run.objects.exists()
    assert Agent.objects.get(slug="seo").prompt != "Say it in verse."


def test_the_answer_streams(staff: httpx.Client, token: str, upstream: Upstream) -> None:
    upstream.respond_with(Answer(pieces=[delta("First"), "wait", delta(" second", "stop"), DONE]))
    with staff.stream("POST", PATH, data={**FORM, "csrfmiddlewaretoken": token}) as response:
        text = response.iter_text()
        seen = ""
        while "First" not in seen:
            seen += next(text)
        assert "second" not in seen
        upstream.resume.set()
        seen += "".join(text)
    assert [each["type"] for each in parse(seen)[1]] == ["start", "chunk", "chunk", "done"]


def test_leaving_the_page_cancels_the_answer(staff: httpx.Client, token: str, upstream: Upstream, before: int) -> None:
    upstream.respond_with(Answer(pieces=[delta("First"), "hang"]))
    with staff.stream("POST", PATH, data={**FORM, "csrfmiddlewaretoken": token}) as response:
        next(response.iter_text())
    assert upstream.client_gone.wait(10)
    assert newest(before)["outcome"] == "cancelled"


def sign_out(staff: httpx.Client, token: str) -> None:
    assert staff.post("/admin/logout/", data={"csrfmiddlewaretoken": token}).is_success


def change(**fields: Any) -> Callable[[httpx.Client, str], None]:
    """Apply a colleague's change to the account of the staff member."""

    def apply(staff: httpx.Client, token: str) -> None:
        user = User.objects.get(name="Staff")
        for name, value in fields.items():
            setattr(user, name, value)
        user.save(update_fields=list(fields))

    return apply


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(sign_out, id="sign-out"),
        pytest.param(change(is_active=False), id="disabled"),
        pytest.param(change(is_staff=False), id="no staff any more"),
        pytest.param(change(password="!"), id="another password"),
        pytest.param(lambda staff, token: sessions.end_all(User.objects.get(name="Staff")), id="all sessions ended"),
    ],
)
def test_it_ends_with_the_session(
    staff: httpx.Client, token: str, make_user: Any, upstream: Upstream, before: int, end: Any
) -> None:
    make_user("colleague", is_staff=True, is_superuser=True)  # the last superuser cannot be disabled
    upstream.respond_with(Answer(pieces=[delta("First"), "hang"]))
    with staff.stream("POST", PATH, data={**FORM, "csrfmiddlewaretoken": token}) as response:
        texts = response.iter_text()
        assert "First" in next(text for text in texts if "First" in text)
        end(staff, token)
        [last] = re.findall(r"data: (.*)", "".join(texts))
    assert (json.loads(last)["type"], json.loads(last)["code"]) == ("error", "token_invalid")
    assert upstream.client_gone.wait(10)
    assert newest(before)["outcome"] == "cancelled"


def test_a_provider_that_refuses(ask: Ask, upstream: Upstream, before: int) -> None:
    upstream.respond_with(Answer(status=401))
    assert error(ask()) == (502, "provider_error")
    assert newest(before)["outcome"] == "provider_error"


def test_an_answer_that_breaks_off(ask: Ask, upstream: Upstream) -> None:
    upstream.respond_with(Answer(pieces=[delta("First"), "cut"]))
    last = events(ask())[-1]
    assert (last["type"], last["code"]) == ("error", "provider_error")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("target", "anthropic/claude-sonnet-4-20250514"),  # which has no key here
        ("target", "nobody/nothing"),
        ("prompt", ""),
        ("context", "x" * 50_001),
        ("temperature", "3"),
        ("max_tokens", "none"),
    ],
)
def test_invalid_input_is_rejected(ask: Ask, upstream: Upstream, field: str, value: str) -> None:
    response = ask(**{field: value})
    assert error(response) == (400, "validation_error")
    assert [each["field"] for each in response.json()["fields"]] == [field]
    assert upstream.requests == []


def test_ten_a_minute(ask: Ask, upstream: Upstream) -> None:
    upstream.script = lambda request: completion("x")
    answers = [ask(prompt="") for _ in range(21)]  # in two windows, where one ends meanwhile
    assert {each.status_code for each in answers[:10]} == {400}
    refused = next(each for each in answers if each.status_code != 400)
    assert error(refused) == (429, "rate_limited") and int(refused.headers["Retry-After"]) > 0
    assert upstream.requests == []


def test_only_who_may_change_agents(make_user: Any, settings: Any, upstream: Upstream) -> None:
    settings.STAFF_SECOND_FACTOR = False
    for role in ("Support", "Billing"):
        user, client = make_user("staff", is_staff=True), Client()
        user.groups.add(Group.objects.get(name=role))
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        assert client.post(PATH, FORM).status_code == 403
        page = client.get(f"/admin/agents/agent/{Agent.objects.get(slug='seo').pk}/change/")
        assert b'id="trial"' not in page.content
    assert Client().post(PATH, FORM).status_code == 302
    assert upstream.requests == []


def test_neither_without_its_token_nor_by_get(staff: httpx.Client, upstream: Upstream) -> None:
    assert staff.post(PATH, data=FORM).status_code == 403
    assert staff.get(PATH).status_code == 405
    assert upstream.requests == []
