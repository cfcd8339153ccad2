"""Chain presets: edited by staff with versions, at most five steps, of existing agents."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.test import Client

from accounts.models import AuditEvent
from agents import versions
from agents.models import Agent
from chains.models import CUSTOM_SLUG, ChainPreset
from testing.client import Api, error, takes_effect

ADD = "/admin/chains/chainpreset/add/"
FORM = {
    "slug": "probe",
    "name": "Probe",
    "description": "Probes.",
    "position": "99",
    "enabled": "on",
    "note": "Asked for.",
}


@pytest.fixture(autouse=True)
def restored(api: Api) -> Iterator[None]:
    """Restore the catalogue after a test, in the web process too, which other tests use."""
    yield
    ChainPreset.objects.filter(slug="probe").delete()
    if Agent.objects.filter(slug="seo", enabled=False).update(enabled=True):
        assert takes_effect(
            lambda: "seo" in {each["slug"] for each in api.get("/agents/list").json()["data"]["agents"]}
        )


@pytest.fixture
def preset() -> ChainPreset:
    row = ChainPreset(slug="probe", name="Probe", description="Probes.", steps=["seo", "auth"], position=99)
    versions.save(row, by=None)
    return row


def page_url(preset: ChainPreset, rest: str = "change/") -> str:
    return f"/admin/chains/chainpreset/{preset.pk}/{rest}"


def send(client: httpx.Client, path: str, form: dict[str, Any], *steps: str) -> str:
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', client.get(path).text)
    assert token
    chosen = {f"steps_{n}": slug for n, slug in enumerate(steps)}
    return client.post(path, data={**form, **chosen, "csrfmiddlewaretoken": token[1]}).text


def listed(api: Api, user: Any) -> dict[str, Any]:
    chains = api.get("/chains", headers=api.as_(user)).json()["data"]["chains"]
    return {chain["id"]: chain for chain in chains}


def find_errors(*steps: str, slug: str = "another") -> list[str]:
    with pytest.raises(ValidationError) as e:
        ChainPreset(slug=slug, name="x", description="x", steps=list(steps), position=1).full_clean()
    return e.value.messages


def test_it_works(staff: httpx.Client, api: Api, carol: Any) -> None:
    assert "was added successfully" in send(staff, ADD, FORM, "code-review", "", "seo")
    preset = ChainPreset.objects.get(slug="probe")
    assert (preset.steps, preset.version) == (["code-review", "seo"], 1)
    assert takes_effect(lambda: "probe" in listed(api, carol))
    assert listed(api, carol)["probe"] == {
        **{"id": "probe", "name": "Probe", "description": "Probes."},
        **{"steps": ["code-review", "seo"], "tier": "pro"},
    }
    changed = send(staff, page_url(preset), {**FORM, "seen": 1}, "code-review", "seo", "documentation")
    assert "was changed successfully" in changed
    assert AuditEvent.objects.filter(action="admin.changed")[0].details["fields"] == ["Steps"]
    assert "<ins><span>+</span>documentation</ins>" in staff.get(page_url(preset, "versions/2/")).text
    assert "content of version 1" in send(staff, page_url(preset, "versions/1/back/"), {"seen": 2})
    preset.refresh_from_db()
    assert (preset.steps, preset.version) == (["code-review", "seo"], 3)


def test_a_preset_has_one_to_five_steps(preset: ChainPreset) -> None:
    assert find_errors(*["seo"] * 6) == ["A chain has 1 to 5 steps, not 6."]
    assert "A chain has 1 to 5 steps, not 0." in find_errors()
    ChainPreset(slug="five", name="x", description="x", steps=["seo"] * 5, position=1).full_clean()
    for steps in ([], ["seo"] * 6):
        with pytest.raises(IntegrityError, match="one_to_five_steps"), transaction.atomic():
            ChainPreset.objects.filter(pk=preset.pk).update(steps=steps)


def test_agents_must_be_there_and_enabled() -> None:
    Agent.objects.filter(slug="seo").update(enabled=False)
    assert find_errors("nobody", "seo", "auth") == [
        "There is no agent 'nobody'. Choose another agent, or remove the step.",
        "The agent 'seo' is disabled. Enable it first, or choose another agent.",
    ]


def test_a_name_that_means_something_else() -> None:
    assert len(find_errors("seo", slug=CUSTOM_SLUG)) == 1


def test_the_form_shows_each_error(staff: httpx.Client, preset: ChainPreset) -> None:
    assert "A chain has 1 to 5 steps, not 0." in send(staff, page_url(preset), {**FORM, "seen": 1})
    Agent.objects.filter(slug="seo").update(enabled=False)
    told = send(staff, page_url(preset), {**FORM, "seen": 1}, "auth", "seo")
    assert "is disabled. Enable it first" in told and 'value="seo" selected' in told
    assert "in the meantime" in send(staff, page_url(preset), {**FORM, "seen": 0}, "auth")
    preset.refresh_from_db()
    assert preset.steps == ["seo", "auth"]


def test_no_way_back_to_an_agent_that_is_gone(staff: httpx.Client, preset: ChainPreset) -> None:
    preset.steps = ["auth"]
    versions.save(preset, by=None)
    Agent.objects.filter(slug="seo").update(enabled=False)
    told = send(staff, page_url(preset, "versions/1/back/"), {"seen": 2})
    assert "cannot be restored" in told and "is disabled" in told


def test_support_reads_and_changes_nothing(make_user: Any, settings: Any, preset: ChainPreset) -> None:
    settings.STAFF_SECOND_FACTOR = False
    user, client = make_user("staff", is_staff=True), Client()
    user.groups.add(Group.objects.get(name="Support"))
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    for rest in ("change/", "versions/", "versions/1/"):
        assert client.get(page_url(preset, rest)).status_code == 200, rest
    assert client.get(page_url(preset, "versions/1/back/")).status_code == 403
    assert client.post(page_url(preset), {**FORM, "seen": 1, "steps_0": "auth"}).status_code == 403
    preset.refresh_from_db()
    assert preset.steps == ["seo", "auth"]


def test_staff_see_which_presets_need_an_agent(client: Client, make_user: Any, settings: Any) -> None:
    settings.STAFF_SECOND_FACTOR = False
    client.force_login(make_user("staff", is_staff=True, is_superuser=True))
    fields = {"slug": "lone", "name": "Lone", "role": "x", "prompt": "x", "tier": "free", "category": "x"}
    agent = Agent.objects.create(**fields, position=9, enabled=False)  # disabled, so that no other test sees it
    preset = ChainPreset.objects.create(slug="needs-it", name="Needs it", description="x", steps=["lone"], position=9)
    said = "Chain presets that are hidden without lone: Needs it."
    try:
        assert said in client.get(f"/admin/agents/agent/{agent.pk}/delete/").content.decode()
        chosen = {"action": "delete_selected", "_selected_action": str(agent.pk)}
        assert said in client.post("/admin/agents/agent/", chosen).content.decode()
        page = client.get(f"/admin/agents/agent/{agent.pk}/change/").content.decode()
        assert said not in page
        form = {name: getattr(agent, name) for name in Agent.VERSIONED_FIELDS} | {"seen": agent.version}
        del form["enabled"]
        assert said in client.post(f"/admin/agents/agent/{agent.pk}/change/", form, follow=True).content.decode()
        off = Agent.objects.get(pk=agent.pk)
        off.role = "y"
        versions.save(off, by=None)
        back = f"/admin/agents/agent/{agent.pk}/versions/{off.version - 1}/back/"
        assert said in client.post(back, {"seen": off.version, "note": ""}, follow=True).content.decode()
    finally:
        preset.delete()
        agent.delete()


def test_a_preset_with_a_missing_agent_is_not_offered(
    api: Api, carol: Any, staff: httpx.Client, preset: ChainPreset
) -> None:
    assert takes_effect(lambda: "probe" in listed(api, carol))
    Agent.objects.filter(slug="seo").update(enabled=False)
    assert takes_effect(lambda: "probe" not in listed(api, carol))
    assert "not offered: seo is disabled or deleted" in staff.get("/admin/chains/chainpreset/?q=probe").text
    refused = api.execute_chain(carol, chain="probe")
    assert error(refused) == (404, "unknown_chain")
    assert refused.json()["error"] == "The chain 'probe' cannot be run now: seo is disabled or deleted."
    preset.enabled = False
    versions.save(preset, by=None)
    assert takes_effect(lambda: error(api.execute_chain(carol, chain="probe")) == (404, "unknown_chain"))
