"""The data source of refusals."""

from collections.abc import Iterable, Iterator

from accounts.models import User
from accounts.privacy import registry
from accounts.privacy.registry import Row
from refusals.models import Refusal


def export(user: User) -> Iterator[tuple[str, Row | Iterable[Row]]]:
    """Yield the refused requests of the last 30 days."""
    yield "refusals", _refusals(user)


def prepare_deletion(user: User) -> None:
    """Do nothing: counts that are not written yet find no user."""


def revoke_access(user: User) -> None:
    """Do nothing: refusals give no access."""


def delete(user: User) -> None:
    """Delete the user's refusals."""
    Refusal.objects.filter(user=user).delete()


def _refusals(user: User) -> Iterator[Row]:
    for page in registry.in_pages(Refusal.objects.kept().filter(user=user)):
        yield from (registry.to_row(refusal, "id", "user_id") for refusal in page)
