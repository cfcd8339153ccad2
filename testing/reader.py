"""Start of a run, and a reader that reconnects until its end."""

import threading
import time
from typing import Any

import httpx

from lunaos.embedded.servers import until
from testing.client import Api, Event, parse

RECOVERY_TIMEOUT_S = 30


class ReconnectingReader:
    """Reader of a run in a thread; reconnects as a browser's EventSource does."""

    def __init__(self, api: Api, user: dict[str, str], run_id: str) -> None:
        self._url, self._api, self._user = f"/runs/{run_id}/events", api, user
        self.positions: list[int] = []
        self.events: list[Event] = []
        self.thread = threading.Thread(target=self._read_all, daemon=True)
        self.thread.start()

    def _read_all(self) -> None:
        ended = False
        while not ended:
            try:
                ended = self._read()
            except httpx.HTTPError:
                ended = not until(self._is_up, 30)

    def _is_up(self) -> bool:
        try:
            return self._api.get("/agents/list").status_code == 200
        except httpx.HTTPError:
            return False

    def _read(self) -> bool:
        after = self.positions[-1] if self.positions else 0
        headers = {**self._user, "Last-Event-ID": str(after)}
        with self._api.stream("GET", self._url, headers=headers) as response:
            if response.status_code == 204:
                return True
            rest = ""
            for text in response.iter_text():
                whole, separator, rest = (rest + text).rpartition("\n\n")
                positions, events = parse(whole + separator)
                self.positions += positions
                self.events += events
        return False

    def end(self) -> list[Event]:
        """Wait for the run's end; return its events, each once and in order."""
        self.thread.join(RECOVERY_TIMEOUT_S + 10)
        assert not self.thread.is_alive(), self.events
        assert self.positions == list(range(1, len(self.events) + 1))
        return self.events


def start_run(api: Api, user: dict[str, str], path: str, body: dict[str, Any], until_seen: str) -> str:
    """Start a run, read until a text is seen, disconnect, and return the run's id."""
    deadline = time.monotonic() + RECOVERY_TIMEOUT_S
    with api.stream("POST", path, json=body, headers=user) as response:
        seen = ""
        for text in response.iter_text():
            seen += text
            if until_seen in seen:
                break
            assert time.monotonic() < deadline, seen  # heartbeats would keep the loop alive
    return response.headers["X-Run-Id"]
