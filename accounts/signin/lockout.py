"""Lockout after repeated failures (docs/adr/0016): an attempt is counted before its password is looked at.

So no number of parallel requests looks at more passwords than the limit allows; one that succeeds is given back. There
are two counters: of an account at one address, and of an account at all addresses that are strange to it. They lie in
django-axes' table of attempts, the addresses that an account is at home at in its log of accesses.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any

from axes.models import AccessAttempt, AccessLog
from django.conf import settings
from django.db import connection
from django.db.models import F

from accounts import mail_limits, tasks
from accounts.auditlog import trail
from accounts.auditlog.trail import Action
from accounts.models import User
from lunaos.infra import client_info
from lunaos.infra.task_queue import enqueue

ADDRESS_SCOPE, ACCOUNT_SCOPE = "address", "account"  # what a counter is of, in axes' column for the user agent
ANY_ADDRESS = "::"  # stands for all of them, and for one that cannot be told
KNOWN_ADDRESS_RETENTION = timedelta(days=90)

# Takes a place where one is left, in one statement; no row comes back when there is none (PostgreSQL, INSERT, ON
# CONFLICT). Whoever takes the last one starts the time for which there will be none.
COUNT_ATTEMPT = """
    INSERT INTO axes_accessattempt AS counter (
        username, ip_address, user_agent, failures_since_start, attempt_time,
        http_accept, path_info, get_data, post_data
    )
    VALUES (%(email)s, %(address)s, %(scope)s, 1, %(now)s, '', '', '', '')
    ON CONFLICT (username, ip_address, user_agent) DO UPDATE SET
        failures_since_start = CASE
            WHEN counter.attempt_time < %(oldest)s THEN 1 ELSE counter.failures_since_start + 1
        END,
        attempt_time = CASE
            WHEN counter.attempt_time < %(oldest)s OR counter.failures_since_start + 1 >= %(limit)s THEN %(now)s
            ELSE counter.attempt_time
        END
    WHERE counter.failures_since_start < %(limit)s OR counter.attempt_time < %(oldest)s
    RETURNING failures_since_start
"""


@dataclass(frozen=True, slots=True)
class SignInAttempt:
    """A sign-in that may go on to the password.

    Args:
        email: as it was typed, in lower case; there need not be such an account.
        address_count: which one it is of the account at this address.
        account_count: which one it is of the account at strange addresses; None from where it is at home.
    """

    email: str
    address: str
    address_count: int
    account_count: int | None


def count_attempt(email: str) -> SignInAttempt | None:
    """Count an attempt at an account from the address of the request being answered.

    Returns:
        None where the account is locked: the password must not count then.
    """
    email, address = _normalise(email), _client_network()
    address_count = _increment(email, address, ADDRESS_SCOPE, settings.LOCKOUT_FAILURES)
    if address_count is None:
        return None
    if _is_known(email, address):
        return SignInAttempt(email, address, address_count, None)
    account_count = _increment(email, ANY_ADDRESS, ACCOUNT_SCOPE, settings.LOCKOUT_ACCOUNT_FAILURES)
    return None if account_count is None else SignInAttempt(email, address, address_count, account_count)


def record_failure(email: str, attempt: SignInAttempt | None) -> None:
    """Write a failure down, and tell the owner where it was the one that locks; None for one that came after that."""
    user = User.objects.filter(email=email.lower()).first()
    trail.record_on_commit(Action.LOGIN_FAILED, subject=user, locked=attempt is None)
    if attempt is None:
        return
    if attempt.address_count == settings.LOCKOUT_FAILURES:
        _report_lockout(attempt.email, user, ADDRESS_SCOPE)
    if attempt.account_count == settings.LOCKOUT_ACCOUNT_FAILURES:
        _report_lockout(attempt.email, user, ACCOUNT_SCOPE)


def record_success(attempt: SignInAttempt) -> None:
    """Forget the failures at this address; those at other addresses go on counting, but for this attempt itself."""
    AccessAttempt.objects.filter(username=attempt.email, ip_address=attempt.address, user_agent=ADDRESS_SCOPE).delete()
    if attempt.account_count is not None:
        counted = AccessAttempt.objects.filter(
            username=attempt.email, user_agent=ACCOUNT_SCOPE, failures_since_start__gt=0
        )
        counted.update(failures_since_start=F("failures_since_start") - 1)


def remember_address(user: User) -> None:
    """The address of the request being answered is from now on one that the account is at home at."""
    email, address, now = user.email, _client_network(), datetime.now(UTC)
    if not AccessLog.objects.filter(username=email, ip_address=address).update(attempt_time=now):
        AccessLog.objects.create(username=email, ip_address=address)


def unlock(email: str) -> bool:
    """Forget all failures.

    Returns:
        Whether there were any.
    """
    return AccessAttempt.objects.filter(username=email).delete()[0] > 0


def delete_records(email: str) -> None:
    """Forget all that is known about an account, failures and addresses."""
    unlock(email)
    AccessLog.objects.filter(username=email).delete()


def delete_expired() -> None:
    """Drop counters whose time has passed, and addresses that an account has not been seen at for long."""
    AccessAttempt.objects.filter(attempt_time__lt=_window_start()).delete()
    AccessLog.objects.filter(attempt_time__lt=datetime.now(UTC) - KNOWN_ADDRESS_RETENTION).delete()


def _increment(email: str, address: str, scope: str, limit: int) -> int | None:
    counter: dict[str, Any] = {"email": email, "address": address, "scope": scope, "limit": limit}
    with connection.cursor() as cursor:
        cursor.execute(COUNT_ATTEMPT, {**counter, "now": datetime.now(UTC), "oldest": _window_start()})
        row = cursor.fetchone()
    return row[0] if row else None


def _normalise(email: str) -> str:
    return email.lower()[:255]


def _is_known(email: str, address: str) -> bool:
    since = datetime.now(UTC) - KNOWN_ADDRESS_RETENTION
    return AccessLog.objects.filter(username=email, ip_address=address, attempt_time__gt=since).exists()


def _report_lockout(email: str, user: User | None, scope: str) -> None:
    trail.record_on_commit(Action.LOCKED_OUT, subject=user, scope=scope, minutes=settings.LOCKOUT_MINUTES)
    confirmed = user is not None and user.email_verified_at is not None
    if mail_limits.allow_notice(email, confirmed=confirmed):
        enqueue.on_commit(tasks.send_locked_out, *tasks.recipient_args(user))


def _window_start() -> datetime:
    return datetime.now(UTC) - timedelta(minutes=settings.LOCKOUT_MINUTES)


def _client_network() -> str:
    try:
        return str(ip_address(client_info.customer_network(client_info.current().address).partition("/")[0]))
    except ValueError:
        return ANY_ADDRESS
