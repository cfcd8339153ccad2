"""API keys, stored as digests."""

import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import ClassVar

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import connection, models
from django.db.models import Q, Subquery

from accounts.models import User


class ApiKeyManager(models.Manager["ApiKey"]):
    def active(self) -> models.QuerySet["ApiKey"]:
        unexpired = Q(expires_at=None) | Q(expires_at__gt=datetime.now(UTC))
        return self.filter(unexpired, revoked_at=None)

    def load(self, digest: str) -> "ApiKey | None":
        """Read one key and its owner in one query."""
        # Without the ORM: every request with a key runs this query, and building it costs more than running it.
        key_columns, user_columns = _columns(ApiKey), _columns(User)
        with connection.cursor() as cursor:
            cursor.execute(
                _LOAD.format(", ".join(_qualified("key", key_columns) + _qualified("owner", user_columns))), [digest]
            )
            row = cursor.fetchone()
        if row is None:
            return None
        key = self.model.from_db(self.db, key_columns, row[: len(key_columns)])
        key.user = User.from_db(self.db, user_columns, row[len(key_columns) :])
        return key


_LOAD = "SELECT {} FROM apikeys_apikey AS key JOIN accounts_user AS owner ON owner.id = key.user_id WHERE digest = %s"


def _columns(model: type[models.Model]) -> list[str]:
    return [field.attname for field in model._meta.concrete_fields]


def _qualified(table: str, columns: Iterable[str]) -> list[str]:
    return [f"{table}.{column}" for column in columns]


class ApiKey(models.Model):
    """An API key, stored as a digest; revoked keys stay for the audit."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=64)
    prefix = models.CharField(max_length=32, help_text="The beginning of the key.")
    digest = models.CharField(max_length=64, unique=True, help_text="SHA-256 of the key.")
    scopes = ArrayField(models.CharField(max_length=32), help_text="What the key may be used for.")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True, help_text="To the minute.")
    revoked_at = models.DateTimeField(null=True)

    objects: ClassVar[ApiKeyManager] = ApiKeyManager()

    class Meta:
        ordering = ("-created_at",)
        verbose_name = "API key"
        permissions = (("revoke_apikey", "Can revoke API key"),)
        indexes = (
            models.Index(fields=("user", "-created_at"), name="keys_of_user"),
            # also for the beginning of a prefix, as staff search for it
            models.Index(fields=("prefix",), name="keys_by_prefix", opclasses=("varchar_pattern_ops",)),
        )

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @property
    def state(self) -> str:
        return "active" if self.active else "revoked" if self.revoked_at else "expired"

    @property
    def active(self) -> bool:
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > datetime.now(UTC))


class ApiKeyAddressManager(models.Manager["ApiKeyAddress"]):
    def delete_all_but_newest(self, key: ApiKey, number: int) -> None:
        newest = self.filter(key=key).order_by("-pk").values("pk")
        self.filter(key=key, pk__lte=Subquery(newest[number : number + 1])).delete()


class ApiKeyAddress(models.Model):
    """A network from which a key was used."""

    key = models.ForeignKey(ApiKey, on_delete=models.CASCADE, related_name="addresses")
    network = models.CharField(max_length=64)
    first_used_at = models.DateTimeField(auto_now_add=True)

    objects: ClassVar[ApiKeyAddressManager] = ApiKeyAddressManager()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("key", "network"), name="one_row_a_network"),)

    def __str__(self) -> str:
        return self.network
