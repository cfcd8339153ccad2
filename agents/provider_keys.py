"""Users' own provider keys: stored encrypted, used for their owner's runs, never shown."""

# A key is decrypted only when a request to its provider starts. Runs, queue and events hold no key but the flag
# `runs.Run.own_key`.

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from accounts.auditlog import trail
from accounts.models import User
from agents import catalogue, providers
from agents.models import ProviderKey
from agents.providers import Provider
from agents.providers.errors import ProviderKeyNotFound, ProviderKeyUnreadable, ProviderTakesNoKey
from lunaos.infra import encryption

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Keyring:
    """One user's provider keys, each decrypted when a request needs it."""

    user_id: UUID
    sealed: dict[str, str] = field(repr=False)

    def __contains__(self, provider: object) -> bool:
        return provider in self.sealed

    def with_user_key(self, provider: Provider) -> Provider:
        """Return the provider with the user's own key; raise ProviderKeyNotFound or ProviderKeyUnreadable."""
        # No fallback to the server's key: the operator would pay for a run that started on the user's key.
        if provider.name not in self.sealed:
            raise ProviderKeyNotFound(f"Your own key for {provider.name} has been removed.")
        try:
            key = encryption.unseal(self.sealed[provider.name], context=_context(self.user_id, provider.name))
        except encryption.Unreadable as e:
            logger.error("A provider key cannot be decrypted: is a key missing in LUNAOS_ENCRYPTION_KEYS?")  # noqa: TRY400 - the traceback adds nothing
            raise ProviderKeyUnreadable(
                f"Your own key for {provider.name} cannot be decrypted. Send the key again, or remove it."
            ) from e
        return replace(provider, api_key=key, own_key=True)


@dataclass(frozen=True, slots=True)
class RotationResult:
    """Numbers of keys by the outcome of a rotation; unreadable keys stay as they are."""

    resealed: int = 0
    current: int = 0
    unreadable: int = 0


def keyring(user_id: UUID) -> Keyring:
    """Return a user's keys."""
    # Raw SQL: each execution runs this query, and the ORM would build it anew each time.
    with connection.cursor() as cursor:
        cursor.execute("SELECT provider, sealed FROM agents_providerkey WHERE user_id = %s", [user_id])
        return Keyring(user_id, dict(cursor.fetchall()))


def set_key(*, user: User, provider: str, key: str) -> None:
    """Store a user's key, for the next run; raise UnknownProvider or ProviderTakesNoKey."""
    if not providers.get(provider).accepts_user_keys:
        raise ProviderTakesNoKey()
    content = {
        "sealed": encryption.seal(key, context=_context(user.pk, provider)),
        "last_four": key[-4:],
        "set_at": datetime.now(UTC),
    }
    with transaction.atomic():
        ProviderKey.objects.update_or_create(user=user, provider=provider, defaults=content)
        trail.record_on_commit(
            trail.Action.PROVIDER_KEY_SET, actor=user, subject=user, provider=provider, last_four=content["last_four"]
        )


@transaction.atomic
def remove_key(*, user: User, provider: str) -> None:
    """Delete a user's key, or raise UnknownProvider or ProviderKeyNotFound."""
    # A run that uses the key fails at its next step.
    own_key = ProviderKey.objects.filter(user=user, provider=providers.get(provider).name).first()
    if own_key is None or not ProviderKey.objects.filter(pk=own_key.pk).delete()[0]:
        raise ProviderKeyNotFound()
    trail.record_on_commit(
        trail.Action.PROVIDER_KEY_REMOVED, actor=user, subject=user, provider=provider, last_four=own_key.last_four
    )


def list_providers(user: User) -> list[dict[str, Any]]:
    """Return all providers with their models and the last four characters of own keys."""
    keys_by_provider = {key.provider: key for key in ProviderKey.objects.filter(user=user)}
    default = providers.default_provider(keys_by_provider)
    return [
        _provider_as_json(provider, keys_by_provider.get(provider.name), provider == default)
        for provider in providers.all_providers()
    ]


def describe_provider(user: User, provider: str) -> dict[str, Any]:
    """Return one provider in the form of `list_providers`."""
    return next(each for each in list_providers(user) if each["name"] == provider)


def _provider_as_json(provider: Provider, own_key: ProviderKey | None, default: bool) -> dict[str, Any]:
    return {
        "name": provider.name,
        "configured": provider.configured,
        "default": default,
        "models": catalogue.current().models[provider.name],
        "takesOwnKeys": provider.accepts_user_keys,
        "ownKey": {"lastFour": own_key.last_four, "since": own_key.set_at} if own_key else None,
    }


def rotate() -> RotationResult:
    """Re-encrypt with the first encryption key all provider keys of older ones."""
    # The rotation can be repeated and runs beside traffic: it does not undo a concurrent change of a key.
    found = [_reencrypt(key) for key in _all_keys()]
    return RotationResult(*(found.count(outcome) for outcome in ("resealed", "current", "unreadable")))


def count_unreadable() -> int:
    """Count the provider keys that no configured encryption key decrypts."""
    return sum(not encryption.is_readable(key.sealed) for key in _all_keys())


def _all_keys() -> Iterator[ProviderKey]:
    return ProviderKey.objects.order_by("pk").iterator(chunk_size=500)


def _reencrypt(key: ProviderKey) -> str:
    if encryption.is_current(key.sealed):
        return "current"
    try:
        sealed = encryption.reseal(key.sealed)
    except encryption.Unreadable:
        return "unreadable"
    replaced = ProviderKey.objects.filter(pk=key.pk, sealed=key.sealed).update(sealed=sealed)
    return "resealed" if replaced else "current"


def _context(user_id: UUID, provider: str) -> str:
    return f"{user_id} {provider}"
