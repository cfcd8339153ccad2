"""How tests talk to the platform: over HTTP, as anybody would."""

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
    """A client of one server; `as_` adds a user's token."""

    def __init__(self, **options: Any) -> None:
        super().__init__(verify=NO_TRUSTED_AUTHORITIES, **options)

    def as_(self, user: Any) -> dict[str, str]:
        from accounts.signin import jwt

        return {"Authorization": f"Bearer {jwt.issue(user)}"}

    def with_key(self, user: Any, *scopes: str, **fields: Any) -> dict[str, str]:
        """The header of a new API key.

        Args:
            scopes: of the key; the usual ones where none is named.
            fields: further ones of the key, as it is stored.
        """
        from apikeys import services
        from apikeys.models import ApiKey

        made = services.create(user=user, name="Test", scopes=scopes or None)
        ApiKey.objects.filter(pk=made.key.pk).update(**fields) if fields else None
        return {"Authorization": f"Bearer {made.secret}"}

    def from_address(self, address: str) -> "Api":
        """A client of the same server, on another loopback address."""
        return Api(
            base_url=self.base_url,
            timeout=30,
            transport=httpx.HTTPTransport(NO_TRUSTED_AUTHORITIES, local_address=address),
        )

    def execute_chain(self, user: Any, *agents: str, **body: Any) -> httpx.Response:
        """Run a chain of these agents, or of the preset in `body`, and read its stream to the end."""
        steps = {"steps": [{"agent": agent} for agent in agents]} if agents else {}
        body = {"context": "def add(a, b): return a - b", **steps, **body}
        return self.post("/chains/execute", json=body, headers=self.as_(user))

    def execute(self, user: Any, **body: Any) -> httpx.Response:
        """Run an agent and read its stream to the end."""
        body = {"agent": "code-review", "context": "def add(a, b): return a - b", **body}
        return self.post("/agents/execute", json=body, headers=self.as_(user))


def takes_effect(condition: Callable[[], bool]) -> bool:
    """Whether it comes true within seconds, as what staff change does (`lunaos.infra.ttl_cache`).

    Asks twice a second, which is within the rate of everybody.
    """
    return until(condition, 12, every=0.5)


def parse(text: str) -> tuple[list[int], list[Event]]:
    """Return ids and events of a stream, or of its beginning.

    Fails on a line that the contract does not know, and on a blank line behind a comment.
    """
    positions, found = [], []
    for block in COMMENT.sub("", text).split("\n\n")[:-1]:
        identifier, data = block.split("\n")
        assert identifier.startswith("id: ") and data.startswith("data: ")
        positions.append(int(identifier[4:]))
        found.append(json.loads(data[6:]))
    return positions, found


def events(response: httpx.Response) -> list[Event]:
    """The events of a whole stream, which are numbered from 1."""
    positions, found = parse(response.text)
    assert positions == list(range(1, len(found) + 1))
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
