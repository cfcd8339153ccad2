"""The HTTP client of tests, and readers of answers."""

import json
import re
import ssl
from collections.abc import Callable
from typing import Any

import httpx

from lunaos.embedded.servers import until

PASSWORD = "correct horse 42 battery"
METRICS_TOKEN = "planted-metrics-token-0123456789abcdef"
# The servers of tests speak no TLS, and reading the list of authorities would take as long as several requests.
NO_TRUSTED_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
COMMENT = re.compile(r"^:.*\n?", re.MULTILINE)

Event = dict[str, Any]


class Api(httpx.Client):
    """A client of one server; `as_` returns a user's credentials."""

    def __init__(self, **options: Any) -> None:
        super().__init__(verify=NO_TRUSTED_AUTHORITIES, **options)

    def as_(self, user: Any) -> dict[str, str]:
        from accounts.signin import jwt

        return {"Authorization": f"Bearer {jwt.issue(user)}"}

    def with_key(self, user: Any, *scopes: str, **fields: Any) -> dict[str, str]:
        """Return the header of a new API key with these scopes and columns."""
        from apikeys import services
        from apikeys.models import ApiKey

        made = services.create(user=user, name="Test", scopes=scopes or None)
        ApiKey.objects.filter(pk=made.key.pk).update(**fields) if fields else None
        return {"Authorization": f"Bearer {made.secret}"}

    def from_address(self, address: str) -> "Api":
        """Return a client of the same server with another loopback address."""
        return Api(
            base_url=self.base_url,
            timeout=30,
            transport=httpx.HTTPTransport(NO_TRUSTED_AUTHORITIES, local_address=address),
        )

    def execute_chain(self, user: Any, *agents: str, **body: Any) -> httpx.Response:
        """Run a chain of these agents, or of the preset in `body`; read its stream."""
        steps = {"steps": [{"agent": agent} for agent in agents]} if agents else {}
        body = {"context": "def add(a, b): return a - b", **steps, **body}
        return self.post("/chains/execute", json=body, headers=self.as_(user))

    def execute(self, user: Any, **body: Any) -> httpx.Response:
        """Run an agent and read its stream to the end."""
        body = {"agent": "code-review", "context": "def add(a, b): return a - b", **body}
        return self.post("/agents/execute", json=body, headers=self.as_(user))


def takes_effect(condition: Callable[[], bool]) -> bool:
    """Return whether a condition comes true within 12 s, as changes of staff do."""
    # The caches of staff's rows last 3 s (`lunaos.infra.ttl_cache`). No rate limit refuses two requests a second.
    return until(condition, 12, every=0.5)


def parse(text: str) -> tuple[list[int], list[Event]]:
    """Return ids and events of a stream, or of its beginning."""
    positions, found = [], []
    # The unpacking below fails on a line that the contract does not allow, and on a blank line after a comment.
    for block in COMMENT.sub("", text).split("\n\n")[:-1]:
        identifier, data = block.split("\n")
        assert identifier.startswith("id: ") and data.startswith("data: ")
        positions.append(int(identifier[4:]))
        found.append(json.loads(data[6:]))
    return positions, found


def events(response: httpx.Response) -> list[Event]:
    """Return the events of a complete stream; check that they are numbered from 1."""
    positions, found = parse(response.text)
    assert positions == list(range(1, len(found) + 1))
    return found


def answer(response: httpx.Response) -> str:
    return "".join(event["content"] for event in events(response) if event["type"] == "chunk")


def error(response: httpx.Response) -> tuple[int, str]:
    """Return status and code; check the shape of the error."""
    body = response.json()
    assert isinstance(body["error"], str) and body["error"]
    assert "detail" not in body
    return response.status_code, body["code"]
