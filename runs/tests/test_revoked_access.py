"""The end of a credential closes the streams and sockets that it opened."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from accounts.models import User
from accounts.privacy import deletion
from accounts.signin import sessions
from accounts.staff import suspension
from apikeys.models import ApiKey
from lunaos.embedded.servers import until
from lunaos.infra import read_access, redis
from rag.models import IndexJob, JobStatus, Repository
from runs.models import Run, Status
from runs.tests.test_consumers import read, socket
from runs.tests.test_events import under_way
from testing.client import COMMENT, PASSWORD, Api, parse
from testing.loopback.upstream import DONE, Answer, Upstream, delta
from testing.servers import daphne

Act = Callable[[Api, Any, dict[str, str]], object]


def change_password(api: Api, user: Any, own: dict[str, str]) -> None:
    sent = {"currentPassword": PASSWORD, "newPassword": "a much better one 77"}
    assert api.post("/auth/password/change", json=sent, headers=api.as_(user)).is_success


def change_password_elsewhere(api: Api, user: Any, own: dict[str, str]) -> None:
    """Change the password as the admin's forms and `manage.py changepassword` do."""
    changed = User.objects.get(pk=user.pk)
    changed.set_password("a much better one 77")
    changed.save()


ENDS_A_TOKEN: dict[str, Act] = {
    "logout": lambda api, user, own: api.post("/auth/logout", headers=own),
    "logout-all": lambda api, user, own: api.post("/auth/logout-all", headers=api.as_(user)),
    "staff end all sessions": lambda api, user, own: sessions.end_all(user),
    "end of everybody's sessions": lambda api, user, own: sessions.end_all_of_all_users(),
    "another password": change_password,
    "another password in the admin": change_password_elsewhere,
}


def revoke(api: Api, user: Any, own: dict[str, str]) -> None:
    key = ApiKey.objects.get(user=user)
    assert api.delete(f"/api-keys/{key.pk}", headers=api.as_(user)).is_success


def disable_in_a_form(api: Api, user: Any, own: dict[str, str]) -> None:
    changed = User.objects.get(pk=user.pk)
    changed.is_active = False
    changed.save()


CLOSES_THE_ACCOUNT: dict[str, Act] = {
    "disabled": lambda api, user, own: suspension.disable(user, actor=user),
    "disabled in a form": disable_in_a_form,
    "deleted": lambda api, user, own: deletion.delete_account(user),
}


@contextmanager
def reader(api: Api, run_id: str, own: dict[str, str]) -> Iterator[Iterator[str]]:
    """Open a stream of a run's events, and read the first one."""
    with api.stream("GET", f"/runs/{run_id}/events", headers=own) as response:
        texts = response.iter_text()
        assert "one" in next(text for text in texts if "one" in text)
        yield texts


def refusal(texts: Iterator[str]) -> dict[str, Any]:
    """Return the stream's last event, which has an id only if it is one of the run's."""
    last = COMMENT.sub("", "".join(texts)).split("\n\n")[-2]
    if not last.startswith("id:"):
        last = f"id: 0\n{last}"
    _, events = parse(f"{last}\n\n")
    return events[-1]


@pytest.mark.parametrize("act", ENDS_A_TOKEN)
def test_a_stream_ends_with_its_token(api: Api, alice: Any, upstream: Upstream, act: str) -> None:
    own = api.as_(alice)
    with under_way(api, alice, upstream) as run_id:
        with reader(api, run_id, own) as texts:
            ENDS_A_TOKEN[act](api, alice, own)
            event = refusal(texts)
        assert (event["type"], event["code"]) == ("error", "token_invalid")
        assert Run.objects.get(pk=run_id).status == Status.RUNNING
    assert until(lambda: Run.objects.get(pk=run_id).status == Status.SUCCEEDED, 10)


def test_a_stream_ends_with_its_key(api: Api, alice: Any, upstream: Upstream) -> None:
    own = api.with_key(alice)
    with under_way(api, alice, upstream) as run_id:
        with reader(api, run_id, own) as texts:
            revoke(api, alice, own)
            assert refusal(texts)["code"] == "api_key_invalid"
        assert Run.objects.get(pk=run_id).status == Status.RUNNING


def test_other_credentials_stay_connected(api: Api, alice: Any, bob: Any, upstream: Upstream) -> None:
    """The ended credential is looked up in the database, so other readers stay."""
    key = api.with_key(alice)
    with under_way(api, alice, upstream) as run_id:
        with reader(api, run_id, key) as texts, reader(api, run_id, api.as_(alice)) as closed:
            sessions.end_all(bob)
            sessions.end_all(alice)
            assert refusal(closed)["code"] == "token_invalid"
            upstream.resume.set()
            assert "done" in "".join(texts)


@pytest.mark.parametrize("act", CLOSES_THE_ACCOUNT)
def test_a_closed_account_has_no_streams_and_no_runs(api: Api, alice: Any, upstream: Upstream, act: str) -> None:
    own = api.as_(alice)
    with under_way(api, alice, upstream) as run_id, reader(api, run_id, own) as texts:
        CLOSES_THE_ACCOUNT[act](api, alice, own)
        event = refusal(texts)
        # the run's terminal event may come first
        assert (event["type"], event.get("code")) in (
            ("error", "token_invalid"),
            ("cancelled", None),
        ) or act == "deleted"
        assert upstream.client_gone.wait(10)
        assert until(lambda: not Run.objects.filter(pk=run_id).exclude(status=Status.CANCELLED).exists(), 10)


def test_the_stream_of_an_execution_ends_too_and_its_run_goes_on(api: Api, alice: Any, upstream: Upstream) -> None:
    """The run goes on also with `onDisconnect: cancel`: the client has not left."""
    upstream.respond_with(Answer(pieces=[delta("one "), "wait", delta("end", "stop"), DONE]))
    own, body = api.as_(alice), {"agent": "code-review", "context": "x", "onDisconnect": "cancel"}
    with api.stream("POST", "/agents/execute", json=body, headers=own) as response:
        texts = response.iter_text()
        next(text for text in texts if "one" in text)
        api.post("/auth/logout", headers=own)
        assert refusal(texts)["code"] == "token_invalid"
    upstream.resume.set()
    run_id = response.headers["X-Run-Id"]
    assert until(lambda: Run.objects.get(pk=run_id).status == Status.SUCCEEDED, 10)


@pytest.mark.parametrize("act", ["logout-all", "another password"])
def test_a_socket_is_closed_with_4401(api: Api, alice: Any, upstream: Upstream, act: str) -> None:
    with under_way(api, alice, upstream) as run_id, socket(api, f"/ws/runs/{run_id}", alice) as connection:
        assert "one" in str([connection.recv(timeout=10) for _ in range(2)])
        ENDS_A_TOKEN[act](api, alice, api.as_(alice))
        messages, code = read(connection)
        assert (messages[-1]["type"], messages[-1]["code"], code) == ("error", "token_invalid", 4401)


def test_lost_notices_are_made_up_for(api: Api, alice: Any, upstream: Upstream, monkeypatch: Any) -> None:
    """A broken connection to Valkey makes every reader check its access."""
    own = api.as_(alice)
    with under_way(api, alice, upstream) as run_id, reader(api, run_id, own) as texts:
        monkeypatch.setattr(read_access, "_publish", lambda message: None)
        sessions.end_all(alice)
        redis.client().client_kill_filter(_type="pubsub")
        assert refusal(texts)["code"] == "token_invalid"


def test_a_second_process_closes_its_readers(
    api: Api, alice: Any, upstream: Upstream, folder: Any, provider_environment: dict[str, str]
) -> None:
    with daphne(folder / "second-reader.log", **provider_environment) as url, Api(base_url=url, timeout=30) as other:
        with under_way(api, alice, upstream) as run_id, reader(other, run_id, api.as_(alice)) as texts:
            api.post("/auth/logout-all", headers=api.as_(alice))
            assert refusal(texts)["code"] == "token_invalid"


def test_a_job_of_code_search(api: Api, alice: Any) -> None:
    repository = Repository.objects.create(user=alice, name="r", model="m")
    job = IndexJob.objects.create(repository=repository, status=JobStatus.RUNNING)
    with api.stream("GET", f"/rag/jobs/{job.pk}/events", headers=api.as_(alice)) as response:
        texts = response.iter_text()
        next(texts)
        api.post("/auth/logout-all", headers=api.as_(alice))
        assert refusal(texts)["code"] == "token_invalid"


@pytest.mark.parametrize("frame", [b"\x82\x80\0\0\0\0", b"\x89\x80\0\0\0\0", b"\x82\xfe\x03\xe8" + b"\0" * 1004])
def test_a_client_that_floods_a_socket_loses_it(api: Api, alice: Any, upstream: Upstream, frame: bytes) -> None:
    """Frames without content, pings and messages once held the event loop."""
    with under_way(api, alice, upstream) as run_id, socket(api, f"/ws/runs/{run_id}", alice) as connection:
        connection.recv(timeout=20)
        flood = frame * (20_000_000 // len(frame))
        with suppress(OSError):  # reset, or closed meanwhile
            connection.socket.sendall(flood)
        assert read(connection)[1] == 0  # ended, without the farewell of one that closes
