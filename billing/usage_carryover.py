"""Carry a deleted account's monthly usage over to the next with its address."""

# Only an HMAC of the address with the server's secret is stored, so that the rows reveal no address.

from datetime import UTC, date, datetime

from django.conf import settings
from django.utils.crypto import salted_hmac

from accounts.models import User
from billing.models import MonthlyUsage, UsageOfAddress

SALT = "billing.addresses"  # part of stored hashes, so it keeps the module's old name


def save_usage(user: User) -> None:
    """Store this month's usage of an account that is being deleted."""
    usage = MonthlyUsage.objects.filter(user=user, month=_first_of_month()).first()
    if usage and usage.executions:
        used = {"executions": usage.executions, "chains": usage.chains, "told_percent": usage.told_percent}
        digest = _digest(user.email, settings.SECRET_KEY)
        UsageOfAddress.objects.update_or_create(digest=digest, month=usage.month, defaults=used)


def restore_usage(user: User) -> None:
    """Count this month's usage of earlier accounts with the address of a new one."""
    digests = [_digest(user.email, secret) for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)]
    stored = UsageOfAddress.objects.filter(digest__in=digests, month=_first_of_month()).order_by("-executions").first()
    if stored:
        used = {"executions": stored.executions, "chains": stored.chains, "told_percent": stored.told_percent}
        MonthlyUsage.objects.create(user=user, month=stored.month, **used)


def delete_past_months() -> None:
    """Delete the usage that was stored in past months."""
    UsageOfAddress.objects.filter(month__lt=_first_of_month()).delete()


def _first_of_month() -> date:
    return datetime.now(UTC).date().replace(day=1)


def _digest(email: str, secret: str) -> str:
    return salted_hmac(SALT, email.lower(), secret=secret, algorithm="sha256").hexdigest()
