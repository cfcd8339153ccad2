"""Export and deletion of users' provider keys."""

from collections.abc import Iterable, Iterator

from accounts.models import User
from accounts.privacy import registry
from accounts.privacy.registry import Row
from agents.models import ProviderKey


def export(user: User) -> Iterator[tuple[str, Row | Iterable[Row]]]:
    yield (
        "providerKeys",
        [registry.columns(key, "id", "user_id", "sealed") for key in ProviderKey.objects.filter(user=user)],
    )


def prepare(user: User) -> None:
    """Do nothing: no job or stream holds a provider key."""


def disown(user: User) -> None:
    """Delete the keys at once, so that no prompt goes to the user's account with a provider."""
    ProviderKey.objects.filter(user=user).delete()


def erase(user: User) -> None:
    """Do nothing: the keys are deleted with the user's row."""
