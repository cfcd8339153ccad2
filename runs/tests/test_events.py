"""GET /runs/{id}/events: several readers resume a stream at any position."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from lunaos.embedded.servers import until
from lunaos.infra import redis
from runs.eventlog import log
from runs.models import Run, RunText
from testing import logs
from testing.client import Api, Event, error, parse
from testing.loopback.upstream import DONE, Answer, Upstream, completion, delta
from testing.servers import daphne

STEPS = [{"agent": "code-review"}, {"agent": "documentation"}]


@contextmanager
def under_way(api: Api, user: Any, upstream: Upstream, *pieces: Any, path: str = "/agents/execute") -> Iterator[str]:
    """Start a run whose provider waits and whose first client has left."""
    upstream.respond_with(
        Answer(pieces=[delta("one "), delta("two "), *pieces, "wait", delta("end", "stop"), DONE]), completion("b")
    )
    body = {"agent": "code-review"} if path == "/agents/execute" else {"steps": STEPS}
    with api.stream("POST", path, json={"context": "x", **body}, headers=api.as_(user)) as response:
        next(text for text in response.iter_text() if "one" in text)
    try:
        yield response.headers["X-Run-Id"]
    finally:
        upstream.resume.set()


def follow(api: Api, user: Any, run_id: str, after: int = 0) -> tuple[list[int], list[Event]]:
    response = api.get(f"/runs/{run_id}/events", headers={**api.as_(user), "Last-Event-ID": str(after)})
    assert response.status_code == 200, response.text
    return parse(response.text)


def one_event(api: Api, user: Any, run_id: str, after: int) -> tuple[int, Event] | None:
    """Connect, read one event, and break the connection; None at the end."""
    headers = {**api.as_(user), "Last-Event-ID": str(after)}
    with api.stream("GET", f"/runs/{run_id}/events", headers=headers) as response:
        if response.status_code == 204:
            return None
        seen = ""
        for text in response.iter_text():
            seen += text
            if "data: " in seen and "\n\n" in seen.partition("data: ")[2]:
                break
    positions, events = parse(seen)
    return positions[0], events[0]


def test_a_finished_run_is_replayed(api: Api, alice: Any, upstream: Upstream) -> None:
    first = api.execute(alice)
    again = api.get(f"/runs/{first.headers['X-Run-Id']}/events", headers=api.as_(alice))
    assert again.headers["Content-Type"] == "text/event-stream"
    assert again.headers["X-Run-Id"] == first.headers["X-Run-Id"]
    assert parse(again.text) == parse(first.text)


def test_from_a_position_on(api: Api, alice: Any, upstream: Upstream) -> None:
    first = api.execute(alice)
    positions, events = follow(api, alice, first.headers["X-Run-Id"], after=2)
    assert positions == [3, 4]
    assert events == parse(first.text)[1][2:]


def test_a_reader_with_all_events_gets_204(api: Api, alice: Any, upstream: Upstream) -> None:
    run_id = api.execute(alice).headers["X-Run-Id"]
    response = api.get(f"/runs/{run_id}/events", headers={**api.as_(alice), "Last-Event-ID": "4"})
    assert (response.status_code, response.content) == (204, b"")
    assert response.headers["X-Run-Id"] == run_id


def test_a_reader_ahead_of_the_run_gets_the_last_event(api: Api, alice: Any, upstream: Upstream) -> None:
    run_id = api.execute(alice).headers["X-Run-Id"]
    for after in (5, 2**53):
        positions, events = follow(api, alice, run_id, after)
        assert (positions, events[0]["type"]) == ([4], "done")


def test_reading_only_the_headers(api: Api, alice: Any, upstream: Upstream) -> None:
    with under_way(api, alice, upstream) as run_id:
        response = api.head(f"/runs/{run_id}/events", headers=api.as_(alice))
        assert (response.status_code, response.headers["X-Run-Id"]) == (200, run_id)


@pytest.mark.parametrize("path", ["/agents/execute", "/chains/execute"])
def test_a_client_that_goes_away_does_not_end_the_run(
    api: Api, alice: Any, upstream: Upstream, chains_worker: None, path: str
) -> None:
    with under_way(api, alice, upstream, path=path) as run_id:
        assert Run.objects.get(pk=run_id).status == "running"
    _, events = follow(api, alice, run_id)
    assert events[-1]["type"] in ("done", "chain_done")
    assert "".join(event.get("content", "") for event in events).startswith("one two end")
    assert not upstream.client_gone.is_set()


@pytest.mark.parametrize("path", ["/agents/execute", "/chains/execute"])
def test_a_reader_that_reconnects_after_every_event_gets_each_once(
    api: Api, alice: Any, upstream: Upstream, chains_worker: None, path: str
) -> None:
    with under_way(api, alice, upstream, *map(delta, "abc"), path=path) as run_id:
        seen, after = [], 0
        while found := one_event(api, alice, run_id, after):
            after = found[0]
            seen.append(found)
            if found[1].get("content") == "c":
                upstream.resume.set()
    assert [position for position, _ in seen] == list(range(1, len(seen) + 1))
    assert seen == list(zip(*follow(api, alice, run_id), strict=True))


def test_two_readers_of_two_processes_see_the_same(
    api: Api, alice: Any, upstream: Upstream, tmp_path: Path, provider_environment: dict[str, str]
) -> None:
    with daphne(tmp_path / "second.log", "/ready", **provider_environment) as second_url:
        second = Api(base_url=second_url, timeout=30)
        with under_way(api, alice, upstream) as run_id:
            found: list[Any] = []
            readers = [
                threading.Thread(target=lambda client=client: found.append(follow(client, alice, run_id)))
                for client in (api, second, second)
            ]
            for reader in readers:
                reader.start()
        for reader in readers:
            reader.join(20)
    assert len(found) == 3 and found[0] == found[1] == found[2]
    assert found[0][1][-1]["type"] == "done"


def test_after_the_log_has_expired_the_database_serves_the_same(api: Api, alice: Any, upstream: Upstream) -> None:
    first = api.execute(alice)
    run_id = first.headers["X-Run-Id"]
    assert 0 < redis.client().ttl(log.channel(Run.objects.get(pk=run_id).pk)) <= 24 * 3600
    logs.expire_event_log(run_id)
    assert follow(api, alice, run_id) == parse(first.text)
    assert follow(api, alice, run_id, after=3)[0] == [4]
    assert one_event(api, alice, run_id, 4) is None


def test_after_the_retention_nothing_is_kept(api: Api, alice: Any, upstream: Upstream) -> None:
    run = Run.objects.get(pk=api.execute(alice).headers["X-Run-Id"])
    logs.expire_event_log(run.pk)
    RunText.objects.filter(run_id=run.pk).delete()
    assert error(api.get(f"/runs/{run.pk}/events", headers=api.as_(alice))) == (410, "events_expired")


def test_a_failed_run_ends_with_its_error(api: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(Answer(pieces=[delta("half "), 0.05, "cut"]))
    run_id = api.execute(alice).headers["X-Run-Id"]
    assert follow(api, alice, run_id)[1][-1]["code"] == "provider_error"

    upstream.respond_with(Answer(status=401))
    run_id = api.execute(alice).headers["X-Run-Id"]
    assert follow(api, alice, run_id) == ([1], [follow(api, alice, run_id)[1][0]])
    assert follow(api, alice, run_id)[1][0]["type"] == "error"


def test_heartbeats_fill_silence(api: Api, alice: Any, upstream: Upstream) -> None:
    with under_way(api, alice, upstream) as run_id:
        headers = {**api.as_(alice), "Last-Event-ID": "3"}
        with api.stream("GET", f"/runs/{run_id}/events", headers=headers) as response:
            texts = response.iter_text()
            assert next(texts) == next(texts) == ": keep-alive\n"


@pytest.mark.parametrize("bad", ["x", "-1", "1-0", "1.5", "٣", "9" * 30, ""])
def test_a_bad_last_event_id(api: Api, alice: Any, upstream: Upstream, bad: str) -> None:
    run_id = api.execute(alice).headers["X-Run-Id"]
    headers = [*api.as_(alice).items(), ("Last-Event-ID", bad)]
    response = api.get(f"/runs/{run_id}/events", headers=httpx.Headers(headers, encoding="utf-8"))
    assert error(response) == (400, "validation_error")
    assert response.json()["fields"][0]["field"] == "Last-Event-ID"


def test_another_users_run_is_not_there(api: Api, alice: Any, charlie: Any, upstream: Upstream) -> None:
    run_id = api.execute(alice).headers["X-Run-Id"]
    assert error(api.get(f"/runs/{run_id}/events", headers=api.as_(charlie))) == (404, "not_found")
    assert error(api.get(f"/runs/{run_id}/events")) == (401, "not_authenticated")


def test_a_closed_stream_leaves_no_listener(api: Api, alice: Any, upstream: Upstream) -> None:
    with under_way(api, alice, upstream) as run_id:
        one_event(api, alice, run_id, 0)
    follow(api, alice, run_id)
    channels = f"lunaos:events:{run_id}"
    assert until(lambda: dict(redis.client().pubsub_numsub(channels)).get(channels.encode(), 0) == 0, 5)
