"""Background tasks about API keys."""

from accounts.tasks import mail_task
from apikeys import emails
from apikeys.models import ApiKey


@mail_task(name="apikeys.tasks.send_key_leaked")
def send_key_leaked(key_id: str) -> None:
    if key := ApiKey.objects.filter(pk=key_id).select_related("user").first():
        emails.key_leaked(key)
