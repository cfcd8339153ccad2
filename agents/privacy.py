"""The data source of users' own provider keys."""

from collections.abc import Iterable, Iterator

from accounts.models import User
from accounts.privacy import registry
from accounts.privacy.registry import Row
from agents.models import ProviderKey


def export(user: User) -> Iterator[tuple[str, Row | Iterable[Row]]]:
    """Yield provider keys without the sealed secrets."""
    yield (
        "providerKeys",
        [registry.to_row(key, "id", "user_id", "sealed") for key in ProviderKey.objects.filter(user=user)],
    )


def prepare_deletion(user: User) -> None:
    """Do nothing: provider keys have no work outside the database."""


def revoke_access(user: User) -> None:
    """Delete provider keys, so that prompts do not go to another person's provider account."""
    ProviderKey.objects.filter(user=user).delete()


def delete(user: User) -> None:
    """Do nothing: the keys are deleted with the user's row."""
