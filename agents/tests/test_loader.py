"""Bringing files into the database."""

from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from agents import loader
from agents.models import Agent, LanguageModel

GOOD = """---
slug: probe
name: Probe Agent
role: Probes.
category: core
tier: free
temperature: 0.2
max_tokens: 1024
order: 90
---
You probe.
"""


@pytest.fixture
def file(tmp_path: Path, database: None) -> Iterator[Path]:
    path = tmp_path / "probe.md"
    path.write_text(GOOD)
    yield path
    Agent.objects.filter(slug="probe").delete()


def test_new_updated_and_unchanged(file: Path) -> None:
    assert loader.load(file.parent) == ["probe: new"]
    assert loader.load(file.parent) == []
    file.write_text(GOOD.replace("You probe.", "You probe well."))
    assert loader.load(file.parent) == ["probe: updated"]
    assert Agent.objects.get(slug="probe").prompt == "You probe well."


def test_edits_of_staff_are_kept(file: Path) -> None:
    loader.load(file.parent)
    Agent.objects.filter(slug="probe").update(prompt="Staff know better.")
    assert loader.load(file.parent) == []
    file.write_text(GOOD.replace("Probes.", "Probes more."))

    assert loader.load(file.parent) == ["probe: kept as staff edited it; its file has changed since"]
    assert Agent.objects.get(slug="probe").prompt == "Staff know better."


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("---\nslug", "slug", "line 1: the file must begin"),
        ("role: Probes.", "role: Probes: badly", "line 4: mapping values"),
        ("tier: free", "tier: gold", "line 6: tier must be one of free, pro, team"),
        ("slug: probe", "slug: other", "line 2: slug must be 'probe'"),
        ("max_tokens: 1024", "max_tokens: many", "line 8: max_tokens must be a int"),
        ("name: Probe Agent", 'name: ""', "line 3: name must be a str"),
        ("category: core\n", "", "line 1: missing key 'category'"),
        ("category: core", "category: core\ncolour: red", "line 6: unknown key 'colour'"),
        ("order: 90\n", "", "line 1: missing key 'order'"),
        ("order: 90", "order: -1", "line 9: order must be between 0 and 32767"),
        ("You probe.", "  ", "the prompt is empty"),
        (GOOD[4:-16], "- a list", "line 2: the front matter must be"),
    ],
)
def test_a_broken_file_is_named_with_its_line(file: Path, old: str, new: str, complaint: str) -> None:
    assert old in GOOD
    file.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(loader.InvalidAgentFile) as e:
        loader.load(file.parent)
    assert str(e.value).startswith("probe.md, line ") and complaint in str(e.value)
    assert not Agent.objects.filter(slug="probe").exists()


def test_two_files_with_one_order_are_refused(file: Path) -> None:
    file.with_name("second.md").write_text(GOOD.replace("slug: probe", "slug: second"))
    with pytest.raises(loader.InvalidAgentFile, match=r"^second\.md, line 9: order 90 is taken by probe\.md$"):
        loader.load(file.parent)


def test_the_order_of_a_file_is_the_agents_position(file: Path) -> None:
    loader.load(file.parent)
    assert Agent.objects.get(slug="probe").position == 90


def test_the_experts_are_listed_in_the_order_of_their_files(database: None) -> None:
    slugs = [file.slug for file in sorted(loader.parse_folder(loader.EXPERTS_FOLDER), key=lambda file: file.order)]
    assert slugs == [agent.slug for agent in Agent.objects.filter(slug__in=slugs)]
    assert slugs[:2] == ["code-review", "testing-validation"] and slugs[-1] == "run"


def test_a_digest_of_an_earlier_release_still_fits(file: Path) -> None:
    """Otherwise every row would look edited by staff and would not follow its file any more."""
    assert loader.parse_file(file).digest == "d82ff994d946169274927ab7a0806e9fb40259ecc57d503a81806e1dd3185b33"


def test_the_command_says_what_is_broken(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("nothing")
    monkeypatch.setattr(loader, "EXPERTS_FOLDER", file.parent)
    with pytest.raises(CommandError, match=r"probe\.md, line 1"):
        call_command("load_agents")


def test_the_command_says_one_line(database: None, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"agent-{number}: new" for number in range(28)]
    for found, said in (
        (lines, "Agents: 28 new\n"),
        (["a: updated", "b: new", "c: updated"], "Agents: 2 updated (a, c). 1 new\n"),
        ([], ""),
    ):
        monkeypatch.setattr(loader, "load", lambda found=found: found)
        output = StringIO()
        call_command("load_agents", stdout=output)
        assert output.getvalue() == said


def test_the_contracts_models_are_there(database: None) -> None:
    models = set(LanguageModel.objects.values_list("provider", "name", "is_default"))
    assert {
        ("deepseek", "deepseek-chat", True),
        ("deepseek", "deepseek-reasoner", False),
        ("anthropic", "claude-sonnet-4-20250514", True),
        ("openai", "gpt-4o", True),
        ("openai", "gpt-4o-mini", False),
        ("local", "smollm2-135m-instruct", True),
    } <= models
