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

AT_ADDRESS, ANYWHERE = "address", "account"  # what a counter is of, in axes' column for the user agent
NO_ADDRESS = "::"  # stands for all of them, and for one that cannot be told
AT_HOME_FOR = timedelta(days=90)

# Takes a place where one is left, in one statement; no row comes back when there is none (PostgreSQL, INSERT, ON
# CONFLICT). Whoever takes the last one starts the time for which there will be none.
TAKE = """
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
class Attempt:
    """A sign-in that may go on to the password.

    Args:
        email: as it was typed, in lower case; there need not be such an account.
        at_address: which one it is of the account at this address.
        anywhere: which one it is of the account at strange addresses; None from where it is at home.
    """

    email: str
    address: str
    at_address: int
    anywhere: int | None


def begin(email: str) -> Attempt | None:
    """Count an attempt at an account from the address of the request being answered.

    Returns:
        None where the account is locked: the password must not count then.
    """
    email, address = _account(email), _address()
    at_address = _take(email, address, AT_ADDRESS, settings.LOCKOUT_FAILURES)
    if at_address is None:
        return None
    if _at_home(email, address):
        return Attempt(email, address, at_address, None)
    anywhere = _take(email, NO_ADDRESS, ANYWHERE, settings.LOCKOUT_ACCOUNT_FAILURES)
    return None if anywhere is None else Attempt(email, address, at_address, anywhere)


def failed(email: str, attempt: Attempt | None) -> None:
    """Write a failure down, and tell the owner where it was the one that locks; None for one that came after that."""
    user = User.objects.filter(email=email.lower()).first()
    trail.record(Action.LOGIN_FAILED, subject=user, locked=attempt is None)
    if attempt is None:
        return
    if attempt.at_address == settings.LOCKOUT_FAILURES:
        _locked(attempt.email, user, AT_ADDRESS)
    if attempt.anywhere == settings.LOCKOUT_ACCOUNT_FAILURES:
        _locked(attempt.email, user, ANYWHERE)


def succeeded(attempt: Attempt) -> None:
    """Forget the failures at this address; those at other addresses go on counting, but for this attempt itself."""
    AccessAttempt.objects.filter(username=attempt.email, ip_address=attempt.address, user_agent=AT_ADDRESS).delete()
    if attempt.anywhere is not None:
        counted = AccessAttempt.objects.filter(username=attempt.email, user_agent=ANYWHERE, failures_since_start__gt=0)
        counted.update(failures_since_start=F("failures_since_start") - 1)


def come_home(user: User) -> None:
    """The address of the request being answered is from now on one that the account is at home at."""
    email, address, now = user.email, _address(), datetime.now(UTC)
    if not AccessLog.objects.filter(username=email, ip_address=address).update(attempt_time=now):
        AccessLog.objects.create(username=email, ip_address=address)


def unlock(email: str) -> bool:
    """Forget all failures.

    Returns:
        Whether there were any.
    """
    return AccessAttempt.objects.filter(username=email).delete()[0] > 0


def forget(email: str) -> None:
    """Forget all that is known about an account, failures and addresses."""
    unlock(email)
    AccessLog.objects.filter(username=email).delete()


def delete_expired() -> None:
    """Drop counters whose time has passed, and addresses that an account has not been seen at for long."""
    AccessAttempt.objects.filter(attempt_time__lt=_oldest()).delete()
    AccessLog.objects.filter(attempt_time__lt=datetime.now(UTC) - AT_HOME_FOR).delete()


def _take(email: str, address: str, scope: str, limit: int) -> int | None:
    counter: dict[str, Any] = {"email": email, "address": address, "scope": scope, "limit": limit}
    with connection.cursor() as cursor:
        cursor.execute(TAKE, {**counter, "now": datetime.now(UTC), "oldest": _oldest()})
        row = cursor.fetchone()
    return row[0] if row else None


def _account(email: str) -> str:
    return email.lower()[:255]


def _at_home(email: str, address: str) -> bool:
    since = datetime.now(UTC) - AT_HOME_FOR
    return AccessLog.objects.filter(username=email, ip_address=address, attempt_time__gt=since).exists()


def _locked(email: str, user: User | None, scope: str) -> None:
    trail.record(Action.LOCKED_OUT, subject=user, scope=scope, minutes=settings.LOCKOUT_MINUTES)
    confirmed = user is not None and user.email_verified_at is not None
    if mail_limits.take_notice(email, confirmed=confirmed):
        enqueue.on_commit(tasks.send_locked_out, *tasks.addressee(user))


def _oldest() -> datetime:
    return datetime.now(UTC) - timedelta(minutes=settings.LOCKOUT_MINUTES)


def _address() -> str:
    try:
        return str(ip_address(client_info.customer_network(client_info.current().address).partition("/")[0]))
    except ValueError:
        return NO_ADDRESS
