"""The data source of API keys."""

from collections.abc import Iterable, Iterator

from accounts.models import User
from accounts.privacy import registry
from accounts.privacy.registry import Row
from apikeys import services
from apikeys.models import ApiKey


def export(user: User) -> Iterator[tuple[str, Row | Iterable[Row]]]:
    yield "apiKeys", [_key(key) for key in ApiKey.objects.filter(user=user).prefetch_related("addresses")]


def prepare_deletion(user: User) -> None:
    """Do nothing: keys have no work outside the database."""


def revoke_access(user: User) -> None:
    services.revoke_all(ApiKey.objects.filter(user=user), actor=None)


def delete(user: User) -> None:
    """Do nothing: the keys are deleted with the user's row, and were unusable since the account was closed."""


def _key(key: ApiKey) -> Row:
    addresses = [registry.to_row(each, "id", "key_id") for each in key.addresses.all()]
    return {**registry.to_row(key, "user_id", "digest"), "addresses": addresses}
