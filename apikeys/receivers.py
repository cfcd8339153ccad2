"""Reactions to signals: a refused request is counted for its key and owner."""

from typing import Any

from django.dispatch import receiver

from accounts.models import User
from apikeys.models import ApiKey
from lunaos.errors import LunaError
from lunaos.infra.signals import request_refused
from refusals import recorder


@receiver(request_refused)
def count_refusal(user: User | None, credential: object, error: LunaError, **_: Any) -> None:
    if user is None:
        return
    key = credential if isinstance(credential, ApiKey) else None
    recorder.count(
        user_id=user.pk,
        key_id=key.pk if key else None,
        key_prefix=key.prefix if key else "",
        code=error.code,
        message=str(error.extra.get("message") or error),
    )
