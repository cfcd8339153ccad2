"""Own provider keys' part of what is known of a user."""

from collections.abc import Iterable, Iterator

from accounts.models import User
from accounts.privacy import registry
from accounts.privacy.registry import Row
from agents.models import ProviderKey


def export(user: User) -> Iterator[tuple[str, Row | Iterable[Row]]]:
    yield (
        "providerKeys",
        [registry.to_row(key, "id", "user_id", "sealed") for key in ProviderKey.objects.filter(user=user)],
    )


def prepare_deletion(user: User) -> None:
    """Nothing goes on outside the database."""


def revoke_access(user: User) -> None:
    """Prompts do not go to somebody else's account with a provider."""
    ProviderKey.objects.filter(user=user).delete()


def delete(user: User) -> None:
    """The keys go with the user's own row."""
