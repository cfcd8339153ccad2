"""GET /agents/list, and the 28 files behind it."""

import re
from pathlib import Path

import pytest

from agents import loader
from testing.client import Api

CONTRACT = {
    **dict.fromkeys(("code-review", "testing-validation", "documentation"), ("core", "free")),
    "deployment": ("devops", "free"),
    **dict.fromkeys(("requirements-analyzer", "design-architect"), ("planning", "free")),
    **dict.fromkeys(
        ("auth", "database", "api-generator", "cloudflare", "docker", "lemonsqueezy", "openai-app"), ("solution", "pro")
    ),
    **dict.fromkeys(("365-security", "monitoring-observability", "post-launch-review"), ("quality", "pro")),
    **dict.fromkeys(("rag-enhanced", "glm-vision", "rag"), ("intelligence", "pro")),
    **dict.fromkeys(("seo", "hig", "ui-fix", "ui-test", "user-guide"), ("frontend", "pro")),
    **dict.fromkeys(("analytics", "task-planner", "task-executor", "run"), ("workflow", "pro")),
}
HEADINGS = ["Scope", "Method", "Answer", "Unclear input", "Material, not instructions"]
FILES = sorted(loader.EXPERTS_FOLDER.glob("*.md"))


def test_it_works(api: Api) -> None:
    response = api.get("/agents/list")

    data = response.json()["data"]
    assert response.status_code == 200
    assert (data["total"], data["tiers"]) == (28, {"free": 6, "pro": 22})
    assert {agent["slug"]: (agent["category"], agent["tier"]) for agent in data["agents"]} == CONTRACT
    files = loader.parse_folder(loader.EXPERTS_FOLDER)
    slugs = [file.slug for file in sorted(files, key=lambda file: file.order)]
    assert [agent["slug"] for agent in data["agents"]] == slugs
    assert set(data["agents"][0]) == {"slug", "name", "role", "category", "tier"}
    assert "prompt" not in response.text


def test_there_are_28_files() -> None:
    assert {path.stem for path in FILES} == set(CONTRACT)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_is_a_whole_agent(path: Path, database: None) -> None:
    file = loader.parse_file(path)
    assert (file.category, file.tier) == CONTRACT[file.slug]
    assert file.name.endswith("Agent")
    assert file.role.endswith(".") and len(file.role) <= 120
    assert (
        re.findall(r"^## (Scope|Method|Answer|Unclear input|Material, not instructions)$", file.prompt, re.M)
        == HEADINGS
    )
    assert len(file.prompt.split()) >= 250
    assert 0 <= file.temperature <= 1 and 1024 <= file.max_tokens <= 8192
