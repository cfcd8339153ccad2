"""GET /chains."""

from typing import Any

from testing.client import Api, error


def test_it_works(api: Api, alice: Any) -> None:
    response = api.get("/chains", headers=api.as_(alice))

    assert response.status_code == 200
    chains = {chain["id"]: chain for chain in response.json()["data"]["chains"]}
    assert {name: (chain["steps"], chain["tier"]) for name, chain in chains.items()} == {
        "code-review-pipeline": (["code-review", "testing-validation", "documentation"], "free"),
        "full-review": (["code-review", "testing-validation", "documentation"], "free"),
        "deploy": (["code-review", "testing-validation", "deployment"], "free"),
        "security-audit": (["code-review", "365-security", "deployment"], "pro"),
        "new-feature": (["requirements-analyzer", "design-architect", "task-planner", "task-executor"], "pro"),
        "api-design": (["api-generator", "database", "documentation"], "pro"),
    }
    assert all(chain["name"] and chain["description"] for chain in chains.values())


def test_it_needs_a_sign_in(api: Api, database: None) -> None:
    assert error(api.get("/chains")) == (401, "not_authenticated")
