"""Jobs about money and quotas."""

from accounts.models import User
from accounts.tasks import mail_task
from billing import emails


@mail_task()
def send_usage_warning(user_id: str, percent: int, used: int, limit: int) -> None:
    """Mail a user that the month has come to a mark."""
    if user := User.objects.filter(pk=user_id).first():
        emails.usage_warning(user, percent=percent, used=used, limit=limit)
