"""Protection of the last superuser from deletion, disabling and demotion."""

from collections.abc import Collection
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from accounts.errors import LastSuperuser
from accounts.models import User

SUPERUSER_FLAGS = ("is_active", "is_staff", "is_superuser")


def active_superusers() -> QuerySet[User]:
    return User.objects.filter(is_active=True, is_staff=True, is_superuser=True)


def includes_all_superusers(user_ids: Collection[UUID]) -> bool:
    """Return whether these users include a superuser, and no other superuser can sign in."""
    has_superuser = User.objects.filter(pk__in=user_ids, is_superuser=True).exists()
    return has_superuser and not active_superusers().exclude(pk__in=user_ids).exists()


@transaction.atomic
def require_another_superuser(user_id: UUID) -> None:
    """Raise LastSuperuser if no other superuser can sign in."""
    # Call this inside the transaction that removes the superuser. The rows of all superusers stay locked until the
    # transaction ends, so that two superusers cannot remove each other.
    if not User.objects.filter(pk=user_id, is_superuser=True).exists():
        return
    locked = active_superusers().select_for_update(no_key=True).order_by("pk").values_list("pk", flat=True)
    if not set(locked) - {user_id}:
        raise LastSuperuser()
