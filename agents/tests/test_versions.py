"""Versions of agents: every change is kept, compared, and can be gone back to."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from agents import loader, versions
from agents.models import Agent
from agents.tests.test_loader import GOOD
from agents.versions import DiffLine, VersionConflict
from lunaos.embedded.servers import until
from testing.client import Api, answer, error, takes_effect
from testing.loopback.upstream import Upstream


@pytest.fixture
def agent(database: None) -> Iterator[Agent]:
    probe = Agent(
        slug="probe", name="Probe", role="Probes.", category="core", tier="free", prompt="One\nTwo", position=99
    )
    versions.save(probe, by=None, note="New.")
    yield probe
    Agent.objects.filter(slug="probe").delete()


def change(agent: Agent, by: Any = None, expected_version: int | None = None, **fields: Any) -> bool:
    row = Agent.objects.get(pk=agent.pk)
    for name, value in fields.items():
        setattr(row, name, value)
    return versions.save(row, by=by, expected_version=expected_version)


def notes(agent: Agent) -> list[tuple[int, str]]:
    return list(agent.versions.values_list("number", "note"))


def test_it_works(agent: Agent, alice: Any) -> None:
    assert change(agent, alice, prompt="One\nThree", enabled=False)
    newest, first = agent.versions.all()
    assert (newest.number, newest.saved_by, first.number, first.saved_by) == (2, alice, 1, None)
    found = {each.field: each.lines for each in versions.diff(first.content, newest.content)}
    assert found == {
        "enabled": [DiffLine("-", "yes"), DiffLine("+", "no")],
        "prompt": [DiffLine(" ", "One"), DiffLine("-", "Two"), DiffLine("+", "Three")],
    }
    assert versions.previous_version(newest) == first and versions.previous_version(first) is None


def test_an_unchanged_row_makes_no_version(agent: Agent) -> None:
    assert not change(agent)
    assert notes(agent) == [(1, "New.")]


def test_lines_that_stayed_are_left_out() -> None:
    old = "\n".join(map(str, range(30)))
    [change] = versions.diff({"prompt": old}, {"prompt": old.replace("2\n", "x\n", 1).replace("29", "y")})
    assert [line.sign for line in change.lines].count(versions.GAP) == 1
    assert len(change.lines) < 20


def test_a_concurrent_edit_is_a_conflict(agent: Agent) -> None:
    assert change(agent, expected_version=1, prompt="By one.")
    with pytest.raises(VersionConflict) as e:
        change(agent, expected_version=1, prompt="By another.")
    assert e.value.latest == 2
    assert Agent.objects.get(pk=agent.pk).prompt == "By one."


def test_restoring_a_version(agent: Agent, alice: Any) -> None:
    change(agent, prompt="Worse", temperature=1.5)
    row = Agent.objects.get(pk=agent.pk)
    assert versions.restore(row, 1, by=alice, note="It was better.", expected_version=2)
    row.refresh_from_db()
    assert (row.prompt, row.temperature, row.version) == ("One\nTwo", 0.2, 3)
    assert notes(agent)[0] == (3, "Back to version 1. It was better.")
    assert not versions.restore(row, 1, by=alice, expected_version=3)


def test_a_version_that_breaks_a_rule_is_not_restored(agent: Agent, alice: Any) -> None:
    change(agent, tier="gone")
    change(agent, tier="pro")
    row = Agent.objects.get(pk=agent.pk)
    with pytest.raises(ValidationError, match="no tier 'gone'"):
        versions.restore(row, 2, by=alice, expected_version=3)
    assert Agent.objects.get(pk=agent.pk).tier == "pro"


def test_a_version_outlives_the_account_of_who_saved_it(agent: Agent, alice: Any) -> None:
    change(agent, alice, prompt="Hers")
    alice_id = alice.pk
    alice.delete()
    newest = agent.versions.select_related("saved_by")[0]
    assert newest.saved_by is None and newest.saved_by_id == alice_id


def test_a_deployment_makes_versions_and_respects_those_of_staff(database: None, tmp_path: Path, alice: Any) -> None:
    file = tmp_path / "probe.md"
    file.write_text(GOOD)
    try:
        loader.load(tmp_path)
        loader.load(tmp_path)
        file.write_text(GOOD.replace("You probe.", "You probe well."))
        loader.load(tmp_path)
        agent = Agent.objects.get(slug="probe")
        assert notes(agent) == [(2, "From its file, which had changed."), (1, "From its file.")]
        change(agent, alice, prompt="Staff know better.")
        file.write_text(GOOD.replace("You probe.", "You probe best."))
        assert "kept as staff edited it" in loader.load(tmp_path)[0]
        versions.restore(Agent.objects.get(slug="probe"), 2, by=alice, expected_version=3)
        assert loader.load(tmp_path) == ["probe: updated"]
        assert [number for number, _ in notes(agent)] == [5, 4, 3, 2, 1]
    finally:
        Agent.objects.filter(slug="probe").delete()


def test_a_disabled_agent_is_gone_for_clients(api: Api, alice: Any, agent: Agent, upstream: Upstream) -> None:
    assert takes_effect(lambda: api.execute(alice, agent="probe").status_code == 200)
    change(agent, enabled=False)
    assert takes_effect(lambda: api.execute(alice, agent="probe").status_code == 404)
    assert error(api.execute(alice, agent="probe")) == (404, "unknown_agent")
    assert "probe" not in {each["slug"] for each in api.get("/agents/list").json()["data"]["agents"]}


def test_an_agents_default_model_answers_requests_without_a_model(
    api: Api, carol: Any, agent: Agent, upstream: Upstream
) -> None:
    change(agent, default_model="openai/gpt-4o-mini")
    assert takes_effect(lambda: api.execute(carol, agent="probe").status_code == 200)
    assert answer(api.execute(carol, agent="probe")) == "Hello world"
    assert upstream.requests[-1]["model"] == "gpt-4o-mini"
    api.execute(carol, agent="probe", provider="deepseek")
    assert upstream.requests[-1]["model"] == "deepseek-chat"
    change(agent, default_model="anthropic/claude-sonnet-4-20250514")  # which has no key here

    def asked() -> str:
        api.execute(carol, agent="probe")
        return str(upstream.requests[-1]["model"])

    assert until(lambda: asked() == "deepseek-chat", 10)
