"""Keys are made, listed and revoked; what they open is in `apikeys.authentication`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from django.db import transaction
from django.db.models import QuerySet

from accounts import idempotency, mail_limits
from accounts.auditlog import trail
from accounts.auditlog.trail import Action
from accounts.errors import IdempotencyConflict
from accounts.models import User
from apikeys import secret, tasks
from apikeys.errors import KeyLimitReached, KeyNotFound
from apikeys.models import ApiKey
from billing import tiers
from lunaos.errors import RateLimited, ScopeMissing
from lunaos.infra import read_access
from lunaos.infra.task_queue import enqueue
from lunaos.scopes import ALL, DEFAULT

DAY = timedelta(days=1)
MADE_A_DAY = 100  # keys of a user, revoked ones among them: each key, and what the audit says of it, stays


@dataclass(frozen=True, slots=True)
class Created:
    """A key that was made, now or by an earlier request with the same idempotency key.

    Args:
        secret: the key itself, which nobody can be told later on.
    """

    key: ApiKey
    secret: str
    replayed: bool = False


@transaction.atomic
def create(
    *,
    user: User,
    name: str,
    scopes: Sequence[str] | None = None,
    expires_at: datetime | None = None,
    maker: ApiKey | None = None,
    idempotency_key: idempotency.RequestKey | None = None,
) -> Created:
    """Make a key.

    With an idempotency key, what is kept for a day is no secret, but the seed of one, which only this server can turn
    into the key again.

    Args:
        scopes: what it may be used for; None takes the usual ones.
        expires_at: when it ends by itself.
        maker: the key that is used to make it, and which it may not outdo.

    Raises:
        ScopeMissing: the maker lacks some of these scopes.
        KeyLimitReached: the user has as many active keys as the tier holds.
        RateLimited: the user has made MADE_A_DAY keys within a day.
        IdempotencyConflict: the idempotency key was used for another request.
    """
    granted = _granted(scopes, maker)
    User.objects.select_for_update(no_key=True).get(pk=user.pk)  # others of this user wait, so that the limit holds
    key_id, seed = uuid4(), secret.seed()
    if idempotency_key and (earlier := idempotency.claim(user=user, key=idempotency_key, result=key_id.hex + seed)):
        return _replay(user, earlier)
    limit = tiers.get(user.tier).api_keys
    if ApiKey.objects.active().filter(user=user).count() >= limit:
        raise KeyLimitReached(f"You have {limit} active keys, as many as your tier holds. Revoke one first.")
    _require_few_made(user)
    value = secret.of(seed)
    key = ApiKey.objects.create(
        id=key_id,
        user=user,
        name=name,
        prefix=value[: secret.SHOWN],
        digest=secret.digest_of(value),
        scopes=granted,
        expires_at=_earlier(expires_at, maker.expires_at if maker else None),
    )
    trail.record(Action.KEY_CREATED, actor=user, subject=user, key=key.prefix, scopes=key.scopes)
    return Created(key, value)


def _require_few_made(user: User) -> None:
    """Raises RateLimited where keys are made and revoked in a loop."""
    since = datetime.now(UTC) - DAY
    made = ApiKey.objects.filter(user=user, created_at__gt=since).order_by("-created_at")
    for oldest in made.values_list("created_at", flat=True)[MADE_A_DAY - 1 : MADE_A_DAY]:
        left_s = int((oldest - since).total_seconds()) + 1
        raise RateLimited(f"{MADE_A_DAY} keys can be made a day.", retry_after=left_s, limit=MADE_A_DAY)


def _granted(wanted: Sequence[str] | None, maker: ApiKey | None) -> list[str]:
    """Raises ScopeMissing where a key would make one that may do more than itself."""
    own = maker.scopes if maker else ALL
    granted = list(wanted or (scope for scope in DEFAULT if scope in own))
    if not granted or set(granted) - set(own):
        raise ScopeMissing("A key cannot give what it lacks.", required=granted, scopes=list(own))
    return granted


def _earlier(*moments: datetime | None) -> datetime | None:
    return min((moment for moment in moments if moment), default=None)


def active(user: User) -> QuerySet[ApiKey]:
    """A user's keys that open something, newest first."""
    return ApiKey.objects.active().filter(user=user)


def revoke(*, user: User, key_id: UUID) -> None:
    """End one of one's own keys; no process accepts it any more when this returns.

    Raises:
        KeyNotFound: there is none, it is another user's, or has ended before.
    """
    if not _end(ApiKey.objects.active().filter(pk=key_id, user=user), Action.KEY_REVOKED, actor=user):
        raise KeyNotFound()


def revoke_all(keys: QuerySet[ApiKey], *, actor: User | None) -> int:
    """End keys on behalf of staff or of an account's deletion.

    Returns:
        How many of them were active.
    """
    return _end(keys.filter(revoked_at=None), Action.KEY_REVOKED, actor=actor)


def report_leaked(value: str) -> None:
    """End a key that somebody has found, and tell its owner; says nothing about whether there was one."""
    if secret.FORM.match(value):
        leaked = ApiKey.objects.filter(digest=secret.digest_of(value), revoked_at=None)
        _end(leaked, Action.KEY_REPORTED_LEAKED, actor=None)


@transaction.atomic
def _end(keys: QuerySet[ApiKey], action: Action, *, actor: User | None) -> int:
    ended = list(keys.select_for_update(of=("self",)).select_related("user"))
    ApiKey.objects.filter(pk__in=[key.pk for key in ended]).update(revoked_at=datetime.now(UTC))
    for user_id in {key.user_id for key in ended}:
        read_access.publish_change(user_id)
    for key in ended:
        trail.record(action, actor=actor, subject=key.user, key=key.prefix)
        if action == Action.KEY_REPORTED_LEAKED:
            _tell_owner(key)
    return len(ended)


def _tell_owner(key: ApiKey) -> None:
    if mail_limits.take_notice(key.user.email, confirmed=key.user.email_verified_at is not None):
        enqueue.on_commit(tasks.send_key_leaked, str(key.pk))


def _replay(user: User, earlier: str) -> Created:
    key = ApiKey.objects.filter(pk=earlier[:32], user=user).first()
    value = secret.again(earlier[32:], key.digest) if key else None
    if key is None or value is None:  # the server's secret was replaced meanwhile
        raise IdempotencyConflict()
    return Created(key, value, replayed=True)
