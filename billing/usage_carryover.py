"""The month of an account that was deleted counts for the next account with the same address, until the month ends.

Of the address only an HMAC with the server's secret is kept, so that the rows tell nothing to a reader without it.
"""

from datetime import UTC, date, datetime

from django.conf import settings
from django.utils.crypto import salted_hmac

from accounts.models import User
from billing.models import MonthlyUsage, UsageOfAddress

SALT = "billing.addresses"  # of hashes that are stored: it survives the module's name


def save_usage(user: User) -> None:
    """Keep what an account that is being deleted has used this month."""
    usage = MonthlyUsage.objects.filter(user=user, month=_first_of_month()).first()
    if usage and usage.executions:
        used = {"executions": usage.executions, "chains": usage.chains, "told_percent": usage.told_percent}
        digest = _digest(user.email, settings.SECRET_KEY)
        UsageOfAddress.objects.update_or_create(digest=digest, month=usage.month, defaults=used)


def restore_usage(user: User) -> None:
    """Count for a new account what earlier accounts with its address have used this month."""
    digests = [_digest(user.email, secret) for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)]
    kept = UsageOfAddress.objects.filter(digest__in=digests, month=_first_of_month()).order_by("-executions").first()
    if kept:
        used = {"executions": kept.executions, "chains": kept.chains, "told_percent": kept.told_percent}
        MonthlyUsage.objects.create(user=user, month=kept.month, **used)


def delete_past_months() -> None:
    """Delete what was kept in months that have ended."""
    UsageOfAddress.objects.filter(month__lt=_first_of_month()).delete()


def _first_of_month() -> date:
    return datetime.now(UTC).date().replace(day=1)


def _digest(email: str, secret: str) -> str:
    return salted_hmac(SALT, email.lower(), secret=secret, algorithm="sha256").hexdigest()
