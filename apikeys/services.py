"""Creation, listing and revocation of API keys."""

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
MAX_KEYS_PER_DAY = 100  # including revoked keys, because every key and its audit rows are kept


@dataclass(frozen=True, slots=True)
class CreatedKey:
    """A key that was created now, or by an earlier request with the same idempotency key."""

    # `replayed`: True if an earlier request created the key.

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
    parent: ApiKey | None = None,
    idempotency_key: idempotency.RequestKey | None = None,
) -> CreatedKey:
    """Create a key.

    Raises:
        ScopeMissing: the parent lacks some of these scopes.
        KeyLimitReached: the user has as many active keys as the tier allows.
        RateLimited: the user has created MAX_KEYS_PER_DAY keys within a day.
        IdempotencyConflict: the idempotency key was used for another request.
    """
    # For an idempotency key, the server stores a seed for a day, not the secret; only this server can derive the key
    # from the seed.
    granted = _resolve_scopes(scopes, parent)
    User.objects.select_for_update(no_key=True).get(pk=user.pk)  # parallel requests wait: the limit is exact
    key_id, seed = uuid4(), secret.new_seed()
    # Before the limits: a repeated request must get its key even if the user has reached a limit meanwhile.
    if idempotency_key and (earlier := idempotency.claim(user=user, key=idempotency_key, result=key_id.hex + seed)):
        return _replay(user, earlier)
    limit = tiers.get(user.tier).api_keys
    if ApiKey.objects.active().filter(user=user).count() >= limit:
        raise KeyLimitReached(f"You have {limit} active keys, as many as your tier allows. Revoke one first.")
    _check_daily_limit(user)
    value = secret.derive_key(seed)
    key = ApiKey.objects.create(
        id=key_id,
        user=user,
        name=name,
        prefix=value[: secret.DISPLAYED_LENGTH],
        digest=secret.hash_key(value),
        scopes=granted,
        # A key must not outlive its parent, as it must not exceed the parent's scopes.
        expires_at=_earliest(expires_at, parent.expires_at if parent else None),
    )
    trail.record_on_commit(Action.KEY_CREATED, actor=user, subject=user, key=key.prefix, scopes=key.scopes)
    return CreatedKey(key, value)


def _check_daily_limit(user: User) -> None:
    since = datetime.now(UTC) - DAY
    made = ApiKey.objects.filter(user=user, created_at__gt=since).order_by("-created_at")
    # The slice is empty, or holds the key whose age decides when the next one may be created.
    for oldest in made.values_list("created_at", flat=True)[MAX_KEYS_PER_DAY - 1 : MAX_KEYS_PER_DAY]:
        left_s = int((oldest - since).total_seconds()) + 1
        raise RateLimited(f"{MAX_KEYS_PER_DAY} keys can be created a day.", retry_after=left_s, limit=MAX_KEYS_PER_DAY)


def _resolve_scopes(requested: Sequence[str] | None, parent: ApiKey | None) -> list[str]:
    # Without a choice a child key gets the default scopes that its parent has, so `granted` may be empty.
    available = parent.scopes if parent else ALL
    granted = list(requested or (scope for scope in DEFAULT if scope in available))
    if not granted or set(granted) - set(available):
        raise ScopeMissing(
            "A key cannot grant a scope that it does not have.", required=granted, scopes=list(available)
        )
    return granted


def _earliest(*moments: datetime | None) -> datetime | None:
    return min((moment for moment in moments if moment), default=None)


def active_keys(user: User) -> QuerySet[ApiKey]:
    return ApiKey.objects.active().filter(user=user)


def get(*, user: User, key_id: UUID) -> ApiKey:
    """Return a key of a user, also an ended one; raise KeyNotFound for any other key."""
    key = ApiKey.objects.filter(pk=key_id, user=user).first()
    if key is None:
        raise KeyNotFound("There is no such key.")
    return key


def revoke(*, user: User, key_id: UUID) -> None:
    """Revoke a key; no process accepts the key after this returns. May raise KeyNotFound."""
    if not _revoke(ApiKey.objects.active().filter(pk=key_id, user=user), Action.KEY_REVOKED, actor=user):
        raise KeyNotFound()


def revoke_all(keys: QuerySet[ApiKey], *, actor: User | None) -> int:
    """Revoke keys on behalf of staff or of an account's deletion."""
    return _revoke(keys.filter(revoked_at=None), Action.KEY_REVOKED, actor=actor)


def report_leaked(value: str) -> None:
    """Revoke a reported key and notify its owner; do nothing if there is no such key."""
    if secret.KEY_PATTERN.match(value):
        leaked = ApiKey.objects.filter(digest=secret.hash_key(value), revoked_at=None)
        _revoke(leaked, Action.KEY_REPORTED_LEAKED, actor=None)


@transaction.atomic
def _revoke(keys: QuerySet[ApiKey], action: Action, *, actor: User | None) -> int:
    # Without `of`, the join would lock the owners' rows too, for which other requests of the owner wait.
    ended = list(keys.select_for_update(of=("self",)).select_related("user"))
    ApiKey.objects.filter(pk__in=[key.pk for key in ended]).update(revoked_at=datetime.now(UTC))
    for user_id in {key.user_id for key in ended}:
        read_access.publish_change(user_id)
    for key in ended:
        trail.record_on_commit(action, actor=actor, subject=key.user, key=key.prefix)
        if action == Action.KEY_REPORTED_LEAKED:
            _notify_owner(key)
    return len(ended)


def _notify_owner(key: ApiKey) -> None:
    if mail_limits.allow_notice(key.user.email, confirmed=key.user.email_verified_at is not None):
        enqueue.on_commit(tasks.send_key_leaked, str(key.pk))


def _replay(user: User, earlier: str) -> CreatedKey:
    # `create` stores the key's id, 32 hexadecimal digits, followed by the seed.
    key = ApiKey.objects.filter(pk=earlier[:32], user=user).first()
    value = secret.recover_key(earlier[32:], key.digest) if key else None
    if key is None or value is None:  # the server's secret was replaced since
        raise IdempotencyConflict()
    return CreatedKey(key, value, replayed=True)
