"""DELETE /auth/me: deletes all data at once; the audit trail stays without personal data."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.db import IntegrityError, connection

from accounts.auditlog import trail
from accounts.auditlog.trail import Action
from accounts.models import (
    AuditEvent,
    AuditOrigin,
    IdempotencyKey,
    KnownAddress,
    RevokedToken,
    SignInCounter,
    User,
)
from accounts.privacy import deletion, registry
from accounts.signin import lockout
from accounts.tests.test_export import add_file
from billing.models import MonthlyUsage
from lunaos.embedded.servers import until
from lunaos.infra import event_loop, redis
from lunaos.scopes import ALL
from rag.models import Chunk, File, Repository
from runs.eventlog import log
from runs.models import Run, RunStep, RunText, Status
from testing.client import PASSWORD, Api, error
from testing.loopback.upstream import Answer, Upstream, delta


def delete(api: Api, user: Any, password: str = PASSWORD, headers: dict[str, str] | None = None) -> httpx.Response:
    headers = headers or api.as_(user)
    return api.request("DELETE", "/auth/me", json={"password": password}, headers=headers)


def rows_of(user: Any) -> dict[str, int]:
    """Return everything that is stored about a user."""
    runs = [run.pk for run in Run.objects.filter(user_id=user.pk)]
    mine = Repository.objects.filter(user_id=user.pk)
    return {
        "users": User.objects.filter(pk=user.pk).count(),
        "runs": len(runs),
        "usage": MonthlyUsage.objects.filter(user_id=user.pk).count(),
        "repositories": mine.count(),
        "idempotency": IdempotencyKey.objects.filter(user_id=user.pk).count(),
        "tokens": RevokedToken.objects.filter(user_id=user.pk).count(),
        "attempts": SignInCounter.objects.filter(email=user.email).count(),
        "addresses": KnownAddress.objects.filter(email=user.email).count(),
    }


def test_it_works(api: Api, alice: Any, bob: Any, upstream: Upstream, chains_worker: Any) -> None:
    api.post("/auth/login", json={"email": alice.email, "password": PASSWORD})
    api.post("/auth/logout", headers=api.as_(alice))
    headers = {**api.as_(alice), "Idempotency-Key": "once"}
    api.post("/agents/execute", json={"agent": "code-review", "context": "secret text"}, headers=headers)
    api.execute_chain(alice, "code-review", "documentation")
    lockout.count_attempt(alice.email)
    repository = add_file(alice, "a.py", "secret piece")
    kept = api.execute(bob).headers["X-Run-Id"]
    runs = [run.pk for run in Run.objects.filter(user=alice)]
    assert all(rows_of(alice).values()) and len(runs) == 2

    assert delete(api, alice).json()["data"]["message"] == "The account is deleted."

    assert not any(rows_of(alice).values())
    assert not RunText.objects.filter(run_id__in=runs).exists() and not RunStep.objects.filter(run_id__in=runs).exists()
    assert not File.objects.filter(repository_id=repository.pk).exists()
    assert not Chunk.objects.filter(repository_id=repository.pk).exists()
    assert not any(redis.client().exists(log.channel(run)) for run in runs)
    assert RunText.objects.filter(run_id=kept).exists() and redis.client().exists(f"lunaos:events:{kept}")


def test_the_trail_stays_without_the_person(api: Api, alice: Any) -> None:
    api.post("/auth/login", json={"email": alice.email, "password": PASSWORD})
    assert AuditOrigin.objects.filter(event__subject_id=alice.pk).exists()
    user_id = alice.pk
    delete(api, alice)

    rows = AuditEvent.objects.filter(subject_id=user_id)
    assert {row.action for row in rows} == {Action.LOGGED_IN, Action.DELETED}
    assert not AuditOrigin.objects.filter(event__in=rows).exists()
    assert trail.verify().broken is None


def test_tokens_are_invalid_at_once(api: Api, alice: Any) -> None:
    headers = api.as_(alice)
    delete(api, alice)
    assert error(api.get("/auth/me", headers=headers)) == (401, "token_invalid")
    again = api.post("/auth/login", json={"email": alice.email, "password": PASSWORD})
    assert error(again) == (401, "invalid_credentials")


def test_the_address_is_free_again(api: Api, alice: Any) -> None:
    delete(api, alice)
    assert api.post("/auth/signup", json={"email": alice.email, "password": PASSWORD}).status_code == 201


def test_the_wrong_password_deletes_nothing(api: Api, alice: Any) -> None:
    headers = api.as_(alice)
    assert error(delete(api, alice, "wrong", headers)) == (403, "wrong_password")
    assert api.get("/auth/me", headers=headers).status_code == 200
    assert error(api.request("DELETE", "/auth/me", json={}, headers=headers)) == (400, "validation_error")


def test_a_user_cannot_delete_another(api: Api, alice: Any) -> None:
    response = api.request("DELETE", "/auth/me", json={"password": PASSWORD})
    assert error(response) == (401, "not_authenticated")


def test_an_api_key_cannot_delete_its_owner(api: Api, alice: Any) -> None:
    response = delete(api, alice, headers=api.with_key(alice, *ALL))
    assert error(response) == (403, "scope_missing")
    assert User.objects.filter(pk=alice.pk).exists()


def test_keys_are_invalid_at_once(api: Api, alice: Any) -> None:
    headers = api.with_key(alice)
    assert api.get("/auth/me", headers=headers).status_code == 200
    delete(api, alice)
    assert error(api.get("/auth/me", headers=headers)) == (401, "api_key_invalid")


def test_ten_attempts_in_five_minutes(api: Api, alice: Any) -> None:
    headers = api.as_(alice)
    for _ in range(10):
        api.request("DELETE", "/auth/me", json={}, headers=headers)
    assert error(delete(api, alice, headers=headers)) == (429, "rate_limited")


def test_parallel_deletions_are_one(api: Api, alice: Any) -> None:
    headers = api.as_(alice)
    with ThreadPoolExecutor(4) as pool:
        statuses = set(pool.map(lambda _: delete(api, alice, headers=headers).status_code, range(4)))
    assert 200 in statuses and statuses <= {200, 401, 403}
    assert AuditEvent.objects.filter(action=Action.DELETED, subject_id=alice.pk).count() == 1


def test_an_open_run_ends_and_leaves_no_data(api: Api, alice: Any, upstream: Upstream) -> None:
    upstream.respond_with(Answer(pieces=[delta("Hello"), "hang"]))
    reader = threading.Thread(target=api.execute, args=(alice,), daemon=True)
    reader.start()
    assert until(lambda: Run.objects.filter(user=alice, status=Status.RUNNING).exists(), 5)
    run = Run.objects.get(user=alice)
    assert until(lambda: bool(redis.client().exists(log.channel(run.pk))), 5)

    assert delete(api, alice).status_code == 200
    reader.join(10)
    assert not reader.is_alive()
    assert not RunText.objects.filter(run_id=run.pk).exists()
    assert not redis.client().exists(log.channel(run.pk))


def test_a_deleted_event_log_accepts_no_more_events(database: None, alice: Any) -> None:
    run_id = alice.pk
    append = log.AppendRequest(run_id, 0, [b'{"type":"start"}'], attempt=1)
    assert event_loop.submit(log.append(append)).result()[0] == log.AppendResult(True, 1)
    event_loop.submit(log.delete([run_id])).result()
    assert event_loop.submit(log.append(append)).result()[0] == log.AppendResult(False, log.FENCED)
    assert not redis.client().exists(log.channel(run_id))


class BusySource:
    """Data source during whose deletion an earlier request adds a row."""

    def export(self, user: Any) -> Any:
        return iter(())

    def prepare_deletion(self, user: Any) -> None:
        self.pool = ThreadPoolExecutor(1)

    def delete(self, user: Any) -> None:
        self.late = self.pool.submit(add_late, User.objects.get(pk=user.pk))
        assert until(waits_for_a_lock, 5)


def add_late(user: Any) -> str:
    try:
        Repository.objects.create(user=user, name="late", model="m")
    except IntegrityError as e:
        return str(e)
    finally:
        connection.close()
    return "added"


def waits_for_a_lock() -> bool:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")  # within a transaction it would stay as it was
        return bool(cursor.execute(waiting).fetchone()[0])


def test_no_row_is_added_during_the_deletion(alice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    known, busy = registry.data_sources(), BusySource()
    monkeypatch.setattr(registry, "data_sources", lambda: [busy, *known])
    assert deletion.delete_account(alice)
    assert "violates foreign key" in busy.late.result(10)
    assert not any(rows_of(alice).values())


class UnreachableSource:
    """Data source whose external service is down, as a payment provider may be."""

    def __init__(self) -> None:
        self.down, self.prepared = True, 0

    def export(self, user: Any) -> Any:
        return iter(())

    def prepare_deletion(self, user: Any) -> None:
        self.prepared += 1
        if self.down:
            raise ConnectionError("the provider cannot be reached")

    def delete(self, user: Any) -> None:
        pass


def test_a_failed_preparation_is_tried_again(
    api: Api, alice: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    headers, known, first = api.as_(alice), registry.data_sources(), UnreachableSource()
    monkeypatch.setattr(registry, "data_sources", lambda: [first, *known])
    repository = add_file(alice, "a.py", "piece")

    assert deletion.delete_account(alice) is False
    assert error(api.get("/auth/me", headers=headers)) == (401, "token_invalid")
    assert Repository.objects.filter(pk=repository.pk).exists()
    assert "account_not_erased" in caplog.text
    deletion.retry_pending()
    assert first.prepared == 2 and User.objects.filter(pk=alice.pk).exists()

    first.down = False
    deletion.retry_pending()
    assert not any(rows_of(alice).values())
    deletion.retry_pending()
    assert first.prepared == 3


def test_a_deletion_by_staff_leaves_no_data(api: Api, alice: Any, staff: httpx.Client, upstream: Upstream) -> None:
    run_id = api.execute(alice).headers["X-Run-Id"]
    page = f"/admin/accounts/user/{alice.pk}/delete/"
    staff.get(page)
    form = {"post": "yes", "csrfmiddlewaretoken": staff.cookies["csrftoken"]}
    assert "was deleted successfully" in staff.post(page, data=form).text
    assert not any(rows_of(alice).values()) and not RunText.objects.filter(run_id=run_id).exists()
    (entry,) = LogEntry.objects.filter(object_id=str(alice.pk))  # that they did is known still, but not her address
    assert entry.object_repr == str(alice.pk)


def test_the_admins_log_loses_the_email_address(api: Api, alice: Any, bob: Any) -> None:
    LogEntry.objects.log_actions(bob.pk, [alice, bob], CHANGE, change_message="")
    delete(api, alice)
    shown = dict(LogEntry.objects.filter(user=bob).values_list("object_id", "object_repr"))
    assert shown == {str(alice.pk): str(alice.pk), str(bob.pk): bob.email}


def test_staff_can_delete_several_users(alice: Any, bob: Any, staff: httpx.Client) -> None:
    form = {"action": "delete_selected", "_selected_action": [str(alice.pk), str(bob.pk)], "post": "yes"}
    form["csrfmiddlewaretoken"] = staff.cookies["csrftoken"]
    assert "Successfully deleted 2 users" in staff.post("/admin/accounts/user/", data=form).text
    assert not User.objects.filter(pk__in=[alice.pk, bob.pk]).exists()
