"""Staff edit the catalogue: each change is a version, and can be restored."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import AuditEvent
from agents import versions
from agents.models import Agent
from lunaos.infra import ttl_cache
from web.tests.test_staff_roles import SIGNED_IN, signed_in

__all__ = ("signed_in",)


@pytest.fixture
def agent(database: None) -> Iterator[Agent]:
    probe = Agent(
        slug="probe", name="Probe", role="Probes.", category="core", tier="free", prompt="One\nTwo", position=99
    )
    versions.save(probe, by=None, note="New.")
    yield probe
    Agent.objects.filter(slug="probe").delete()


def page_of(agent: Agent, rest: str = "change/") -> str:
    return f"/admin/agents/agent/{agent.pk}/{rest}"


def form_of(agent: Agent, **changes: Any) -> dict[str, Any]:
    """Return the change form of an agent as it is stored, with changes."""
    names = ("name", "role", "category", "position", "tier", "default_model", "temperature", "max_tokens", "prompt")
    form = {name: getattr(agent, name) for name in names}
    return {**form, "enabled": "on", "seen": agent.version, "note": "", **changes}


def send(client: httpx.Client, path: str, form: dict[str, Any]) -> httpx.Response:
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', client.get(path).text)
    assert token
    return client.post(path, data={**form, "csrfmiddlewaretoken": token[1]})


def test_it_works(staff: httpx.Client, agent: Agent) -> None:
    assert "One\nTwo" in staff.get(page_of(agent)).text
    changed = form_of(agent, prompt="One\r\nThree <b>", note="Two was wrong.", tier="pro")
    assert "was changed successfully" in send(staff, page_of(agent), changed).text
    assert Agent.objects.get(pk=agent.pk).prompt == "One\nThree <b>"
    listed = staff.get(page_of(agent, "versions/")).text
    for expected in ("Version 2</a> (now)", "tier, prompt", "Two was wrong.", "the platform", "New.", "staff-"):
        assert expected in listed, expected
    shown = staff.get(page_of(agent, "versions/2/")).text
    assert "<ins><span>+</span>Three &lt;b&gt;</ins>" in shown and "<del><span>−</span>Two</del>" in shown
    assert "<ins><span>+</span>Three" in staff.get(page_of(agent, "versions/1/?against=current")).text

    asked = staff.get(page_of(agent, "versions/1/back/")).text
    assert "<ins><span>+</span>Two</ins>" in asked
    agent.refresh_from_db()
    done = send(staff, page_of(agent, "versions/1/back/"), {"seen": 2, "note": "It was right."})
    assert "has the content of version 1 again" in done.text
    agent.refresh_from_db()
    assert (agent.prompt, agent.tier, agent.version) == ("One\nTwo", "free", 3)
    row = AuditEvent.objects.filter(action="admin.went_back")[0]
    assert row.details == {"object": f"agents.agent {agent.pk}", "back_to": 1, "version": 3}


def test_an_unchanged_save_makes_no_version(staff: httpx.Client, agent: Agent) -> None:
    form = form_of(agent, prompt="One\r\nTwo")  # as browsers send lines
    assert "was changed successfully" in send(staff, page_of(agent), form).text
    agent.refresh_from_db()
    assert agent.version == 1


def test_a_conflict_keeps_the_input(staff: httpx.Client, agent: Agent) -> None:
    mine, theirs = form_of(agent, prompt="Mine, long thought about."), form_of(agent, prompt="Theirs.")
    send(staff, page_of(agent), theirs)
    told = send(staff, page_of(agent), mine).text
    assert "in the meantime" in told and f'href="{page_of(agent, "versions/2/")}"' in told
    assert "Mine, long thought about." in told
    assert Agent.objects.get(pk=agent.pk).prompt == "Theirs."
    seen = re.search(r'name="seen" value="(\d+)"', told)
    assert seen and "was changed successfully" in send(staff, page_of(agent), {**mine, "seen": seen[1]}).text
    assert Agent.objects.get(pk=agent.pk).prompt == "Mine, long thought about."


def test_a_restore_over_an_unseen_version_is_a_conflict(staff: httpx.Client, agent: Agent) -> None:
    send(staff, page_of(agent), form_of(agent, prompt="Second"))
    told = send(staff, page_of(agent, "versions/1/back/"), {"seen": 1, "note": "Because."}).text
    assert "Another version was saved in the meantime" in told and 'value="Because."' in told
    assert Agent.objects.get(pk=agent.pk).prompt == "Second"


def test_a_version_that_breaks_a_rule_stays_where_it_is(staff: httpx.Client, agent: Agent) -> None:
    agent.tier = "gone"
    versions.save(agent, by=None)
    agent.tier = "free"
    versions.save(agent, by=None)
    told = send(staff, page_of(agent, "versions/2/back/"), {"seen": 3}).text
    assert "cannot be restored" in told and "There is no tier" in told


def test_a_model_that_cannot_be_used_now_stays_chosen(staff: httpx.Client, agent: Agent) -> None:
    agent.default_model = "openai/gone"
    versions.save(agent, by=None)
    assert 'value="openai/gone" selected' in staff.get(page_of(agent)).text
    assert "was changed successfully" in send(staff, page_of(agent), form_of(agent, prompt="Second")).text
    agent.refresh_from_db()
    assert (agent.default_model, agent.prompt) == ("openai/gone", "Second")
    assert "Select a valid choice" in send(staff, page_of(agent), form_of(agent, default_model="nobody/nothing")).text


def test_an_unknown_version_is_not_found(staff: httpx.Client, agent: Agent) -> None:
    for rest in ("versions/7/", "versions/7/back/"):
        assert staff.get(page_of(agent, rest)).status_code == 404


@pytest.mark.parametrize(
    ("role", "sees", "changes"), [("Catalogue editor", 200, 200), ("Support", 200, 403), ("Billing", 403, 403)]
)
def test_permissions(signed_in: SIGNED_IN, agent: Agent, role: str, sees: int, changes: int) -> None:
    client = signed_in(role)
    agent.prompt = "Second"
    versions.save(agent, by=None)
    for rest in ("versions/", "versions/1/", "change/"):
        assert client.get(page_of(agent, rest)).status_code == sees, rest
    assert client.get(page_of(agent, "versions/1/back/")).status_code == changes
    if changes == 403:
        assert client.post(page_of(agent, "versions/1/back/"), {"seen": 2}).status_code == 403
        assert b"Restore this version" not in client.get(page_of(agent, "versions/1/")).content
        client.post(page_of(agent), form_of(agent, prompt="Never"))
        assert Agent.objects.get(pk=agent.pk).prompt == "Second"


def test_many_versions_cost_as_many_queries_as_few(
    signed_in: SIGNED_IN, agent: Agent, make_user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ttl_cache, "TTL_S", 3600)  # whether one is read anew is a matter of seconds
    client = signed_in("Catalogue editor")

    def queries(rest: str) -> int:
        client.get(page_of(agent, rest))
        with CaptureQueriesContext(connection) as captured:
            assert client.get(page_of(agent, rest)).status_code == 200
        return len(captured)

    def add(count: int) -> None:
        for n in range(count):
            agent.prompt = f"{agent.version} {n}"
            versions.save(agent, by=make_user())

    add(3)
    pages = ("change/", "versions/", "versions/2/", "versions/2/?against=current", "versions/2/back/")
    before = [queries(rest) for rest in pages]
    add(27)
    assert [queries(rest) for rest in pages] == before
    assert max(before) <= 15
