"""Error reports to Sentry, imported only with SENTRY_DSN: the import takes 0.5 s."""

from typing import Any

import sentry_sdk
from sentry_sdk.integrations.celery import CeleryIntegration
from sentry_sdk.integrations.logging import LoggingIntegration

from lunaos.infra.observability import logs


def start(dsn: str, *, environment: str) -> None:
    """Report logged errors from now on, without secrets, bodies or variables."""
    sentry_sdk.init(
        dsn,
        environment=environment,
        send_default_pii=False,
        include_local_variables=False,
        max_request_body_size="never",
        max_breadcrumbs=0,
        server_name="",
        # Model clients' would look at prompts, and Django's keeps every request of a handler that is not its own.
        auto_enabling_integrations=False,
        integrations=[CeleryIntegration(), LoggingIntegration(level=None)],
        before_send=scrubbed,
    )


def scrubbed(event: Any, _hint: Any) -> Any:
    """Return the event redacted like a log line, without the client's request."""
    for name in ("request", "user"):
        event.pop(name, None)
    return logs.redact(None, "", event)
