"""Mails about money and quotas."""

from django.core.mail import send_mail
from django.template.loader import render_to_string

from accounts.models import User
from billing import tiers


def usage_warning(user: User, *, percent: int, used: int, limit: int) -> None:
    """Tell how much of the month's executions is used.

    Args:
        percent: the mark that was reached, 80 or 100.
    """
    context = {"user": user, "percent": percent, "used": used, "limit": limit, "upgrade_url": tiers.upgrade_url()}
    send_mail(
        f"{percent}% of your LunaOS executions are used",
        render_to_string("billing/usage_warning.txt", context),
        None,
        [user.email],
    )
