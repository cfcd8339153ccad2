"""All changes of this code base to foreign modules and classes at run time.

Each function is one patch and names its reason, the version that needs it, and when to remove it. The caller passes
the foreign object, so that this module imports no foreign package: `block_opentelemetry_metrics` runs before redis is
imported. `lunaos/infra/tests/test_patches.py` tests that each patch is still needed.
"""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, cast


def block_opentelemetry_metrics() -> None:
    """Make the import of `opentelemetry.metrics` fail.

    Reason: redis 8.1 imports OpenTelemetry's whole SDK for metrics wherever its API is installed. A module that is
    None in `sys.modules` cannot be imported; redis then works without it.
    Remove when redis imports OpenTelemetry only on request.
    """
    sys.modules.setdefault("opentelemetry.metrics", cast(ModuleType, None))


def add_redis_errors(parser: Any, error: type[Exception], codes: tuple[str, ...]) -> None:
    """Have redis' parser raise an error class of its own for these error replies.

    Reason: redis 8.1 raises a plain ResponseError for them, the same as for a programming error.
    Remove when redis has classes for MISCONF, NOREPLICAS and BUSY.
    """
    parser.EXCEPTION_CLASSES |= dict.fromkeys(codes, error)


def replace_redis_transport(aliases: dict[str, str], transport: str) -> None:
    """Have kombu use another transport (`module:Class`) for `redis://`, `rediss://`.

    Reason: a worker on kombu 5.7 ends when the broker goes away or refuses writes (docs/adr/0007).
    Remove when kombu survives both.
    """
    aliases["redis"] = aliases["rediss"] = transport


def bound_daphne(
    http_protocol: Any, websocket_factory: Any, *, request: type, channel: Callable[[], Any], websocket: type
) -> None:
    """Have Daphne read requests and WebSocket frames with classes that bound them.

    Reason: Daphne 4.2 has no limits on headers, bodies and frames, and no setting for its classes (docs/adr/0031).
    Remove when Daphne takes these classes or these limits as options.
    """
    http_protocol.WebRequest = request
    http_protocol.HTTPFactory.protocol = lambda _: channel()
    websocket_factory.protocol = websocket


def replace_daphne_kill(server: Any, kill: Callable[[Any], Any]) -> None:
    """Replace how Daphne's server cancels all applications at its end.

    Reason: Daphne 4.2 forgets an application that has ended while its connection is open, and then raises KeyError.
    Remove when `test_daphne_needs_its_kill_replaced` fails.
    """
    server.kill_all_applications = kill


def replace_str(model: type, describe: Callable[[Any], str]) -> None:
    """Replace a foreign model's text in the admin's headings, lists and history.

    Reason: dj-stripe 2.11 shows an invoice's cents as dollars.
    Remove when dj-stripe formats amounts by their currency.
    """
    cast(Any, model).__str__ = describe
