"""Idempotency keys: the same key with the same request has one result for a day (CONTRACT, section 1)."""

# After the IETF draft `draft-ietf-httpapi-idempotency-key-header`, section 2.

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection

from accounts.errors import IdempotencyConflict
from accounts.models import IdempotencyKey, User

RETENTION = timedelta(hours=24)

# A second request with the key waits here until the first has committed, or claims the key if the first was rolled
# back. PostgreSQL locks the row even if the condition is false (INSERT, ON CONFLICT).
CLAIM = """
    INSERT INTO accounts_idempotencykey AS earlier (user_id, key, digest, result, created_at)
    VALUES (%(user_id)s, %(key)s, %(digest)s, %(result)s, %(now)s)
    ON CONFLICT (user_id, key) DO UPDATE
    SET digest = EXCLUDED.digest, result = EXCLUDED.result, created_at = EXCLUDED.created_at
    WHERE earlier.created_at < %(oldest)s
    RETURNING id
"""


@dataclass(frozen=True, slots=True)
class RequestKey:
    """An Idempotency-Key with the SHA-256 of the endpoint and content of its request."""

    key: str
    digest: str

    @classmethod
    def from_request(cls, key: str, endpoint: str, content: bytes) -> "RequestKey":
        return cls(key, hashlib.sha256(endpoint.encode() + b"\0" + content).hexdigest())


def find(*, user: User, key: RequestKey) -> str | None:
    """Return the result of an earlier equal request; raise IdempotencyConflict if the requests differ."""
    valid = IdempotencyKey.objects.filter(user=user, key=key.key, created_at__gte=datetime.now(UTC) - RETENTION)
    earlier = valid.first()
    if earlier and earlier.digest != key.digest:
        raise IdempotencyConflict()
    return earlier.result if earlier else None


def claim(*, user: User, key: RequestKey, result: str) -> str | None:
    """Claim a key in the transaction of its result; return an earlier result, or raise IdempotencyConflict."""
    # The key stays locked until the transaction ends.
    now = datetime.now(UTC)
    values: dict[str, Any] = {"user_id": user.pk, "key": key.key, "digest": key.digest, "result": result}
    with connection.cursor() as cursor:
        cursor.execute(CLAIM, {**values, "now": now, "oldest": now - RETENTION})
        if cursor.fetchone():
            return None
    earlier = IdempotencyKey.objects.get(user=user, key=key.key)
    if earlier.digest != key.digest:
        raise IdempotencyConflict()
    return earlier.result


def replace(*, user: User, key: RequestKey, result: str) -> None:
    """Store another result, inside the transaction that claimed the key, because the earlier result was lost."""
    IdempotencyKey.objects.filter(user=user, key=key.key).update(result=result, created_at=datetime.now(UTC))


def delete_expired() -> None:
    IdempotencyKey.objects.filter(created_at__lt=datetime.now(UTC) - RETENTION).delete()
