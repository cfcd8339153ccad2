"""Lockout after repeated failures (docs/adr/0016): an attempt is counted before its password is checked."""

# So no number of parallel requests checks more passwords than the limit allows; a success gives its attempt back.
# There are two counters: one for an account at one address, and one for an account at all addresses that it is not
# known at.

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import F

from accounts import mail_limits, tasks
from accounts.auditlog import trail
from accounts.auditlog.trail import Action
from accounts.models import KnownAddress, SignInCounter, User
from accounts.signin import axes_tables
from lunaos.infra import client_info
from lunaos.infra.task_queue import enqueue

ADDRESS_SCOPE, ACCOUNT_SCOPE = "address", "account"
ANY_ADDRESS = "::"  # stands for all addresses, and for one that cannot be determined
KNOWN_ADDRESS_RETENTION = timedelta(days=90)

# One statement checks the limit and counts; no row comes back when the limit is reached (PostgreSQL, INSERT, ON
# CONFLICT). The last attempt that is allowed starts the time of the lockout.
COUNT_ATTEMPT = """
    INSERT INTO accounts_signincounter AS counter (email, address, scope, attempts, counted_since)
    VALUES (%(email)s, %(address)s, %(scope)s, 1, %(now)s)
    ON CONFLICT (email, address, scope) DO UPDATE SET
        attempts = CASE WHEN counter.counted_since < %(oldest)s THEN 1 ELSE counter.attempts + 1 END,
        counted_since = CASE
            WHEN counter.counted_since < %(oldest)s OR counter.attempts + 1 >= %(limit)s THEN %(now)s
            ELSE counter.counted_since
        END
    WHERE counter.attempts < %(limit)s OR counter.counted_since < %(oldest)s
    RETURNING attempts
"""


@dataclass(frozen=True, slots=True)
class SignInAttempt:
    """A counted sign-in, whose password may be checked."""

    email: str
    address: str
    address_count: int
    account_count: int | None


def count_attempt(email: str) -> SignInAttempt | None:
    """Count an attempt at an account from the current request's address; return None if it is locked."""
    # A right password must not be accepted while the account is locked. At a known address the account's counter is
    # left out, so that strangers cannot lock the owner out.
    email, address = _normalise(email), _client_network()
    address_count = _increment(email, address, ADDRESS_SCOPE, settings.LOCKOUT_FAILURES)
    if address_count is None:
        return None
    if _is_known(email, address):
        return SignInAttempt(email, address, address_count, None)
    account_count = _increment(email, ANY_ADDRESS, ACCOUNT_SCOPE, settings.LOCKOUT_ACCOUNT_FAILURES)
    return None if account_count is None else SignInAttempt(email, address, address_count, account_count)


def record_failure(email: str, attempt: SignInAttempt | None) -> None:
    """Record a failed attempt in the audit trail, and mail the owner if it locks the account."""
    user = User.objects.filter(email=email.lower()).first()
    trail.record_on_commit(Action.LOGIN_FAILED, subject=user, locked=attempt is None)
    if attempt is None:
        return
    if attempt.address_count == settings.LOCKOUT_FAILURES:
        _report_lockout(attempt.email, user, ADDRESS_SCOPE)
    if attempt.account_count == settings.LOCKOUT_ACCOUNT_FAILURES:
        _report_lockout(attempt.email, user, ACCOUNT_SCOPE)


def record_success(attempt: SignInAttempt) -> None:
    """Reset the counter of this address, and take this attempt alone off the counter of the account."""
    counters = SignInCounter.objects.filter(email=attempt.email)
    counters.filter(address=attempt.address, scope=ADDRESS_SCOPE).delete()
    if attempt.account_count is not None:
        counters.filter(scope=ACCOUNT_SCOPE, attempts__gt=0).update(attempts=F("attempts") - 1)


def remember_address(user: User) -> None:
    """Make the address of the current request a known address of the account."""
    known = KnownAddress(email=user.email, address=_client_network(), last_seen_at=datetime.now(UTC))
    KnownAddress.objects.bulk_create(
        [known], update_conflicts=True, unique_fields=["email", "address"], update_fields=["last_seen_at"]
    )


def unlock(email: str) -> bool:
    return SignInCounter.objects.filter(email=email).delete()[0] > 0


def delete_records(email: str) -> None:
    unlock(email)
    KnownAddress.objects.filter(email=email).delete()
    axes_tables.delete_of(email)


def delete_expired() -> None:
    """Delete counters whose window has passed, and known addresses without a sign-in for 90 days."""
    oldest_address = datetime.now(UTC) - KNOWN_ADDRESS_RETENTION
    SignInCounter.objects.filter(counted_since__lt=_window_start()).delete()
    KnownAddress.objects.filter(last_seen_at__lt=oldest_address).delete()
    axes_tables.delete_before(attempts=_window_start(), addresses=oldest_address)


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
    return KnownAddress.objects.filter(email=email, address=address, last_seen_at__gt=since).exists()


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
