"""How tests talk to the platform: over HTTP, as anybody would."""

import json
from typing import Any

import httpx

PASSWORD = "correct horse 42 battery"

Event = dict[str, Any]


class Api(httpx.Client):
    """A client of one server; `as_` adds a user's token."""

    def as_(self, user: Any) -> dict[str, str]:
        from accounts import tokens

        return {"Authorization": f"Bearer {tokens.issue(user)}"}

    def from_address(self, address: str) -> "Api":
        """A client of the same server, on another loopback address."""
        return Api(base_url=self.base_url, timeout=30, transport=httpx.HTTPTransport(local_address=address))

    def execute(self, user: Any, **body: Any) -> httpx.Response:
        """Run an agent and read its stream to the end."""
        body = {"agent": "code-review", "context": "def add(a, b): return a - b", **body}
        return self.post("/agents/execute", json=body, headers=self.as_(user))


def events(response: httpx.Response) -> list[Event]:
    """The events of a whole stream; fails on any line that is none of the contract's."""
    found, position = [], 0
    for block in response.text.split("\n\n"):
        if not block or block.startswith(":"):
            continue
        identifier, data = block.split("\n")
        position += 1
        assert identifier == f"id: {position}"
        assert data.startswith("data: ")
        found.append(json.loads(data[6:]))
    return found


def answer(response: httpx.Response) -> str:
    """The chunks joined."""
    return "".join(event["content"] for event in events(response) if event["type"] == "chunk")


def error(response: httpx.Response) -> tuple[int, str]:
    """Status and code, after a look at the error's shape."""
    body = response.json()
    assert isinstance(body["error"], str) and body["error"]
    assert "detail" not in body
    return response.status_code, body["code"]
