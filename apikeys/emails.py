"""E-mails about API keys."""

from apikeys.models import ApiKey
from lunaos.infra import mails
from lunaos.infra.mails import Button, page_url


def key_leaked(key: ApiKey) -> None:
    mails.send(
        "apikeys/key_leaked.txt",
        subject="A LunaOS API key of yours was found and revoked",
        to=[key.user.email],
        button=Button("Replace the key", page_url("/docs/guides/authentication")),
        facts=[("Name of the key", key.name), ("Begins with", key.prefix)],
        greeting=key.user.greeting,
    )
