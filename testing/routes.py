"""All routes of the API by the URL configuration, so that tests cover new ones."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.urls import URLPattern, get_resolver
from rest_framework.permissions import AllowAny
from rest_framework.viewsets import ViewSetMixin

UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"
SAMPLES = {"uuid": UNKNOWN_ID}  # of path parameters, by converter


@dataclass(frozen=True, slots=True)
class Route:
    method: str
    # As in the URL configuration, `runs/<uuid:pk>`.
    template: str
    # True if no credential is needed.
    public: bool
    # Scopes of which a key needs one; empty if the route accepts no key.
    scopes: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.method} /{self.template}"

    @property
    def path(self) -> str:
        sample = re.sub(r"<(\w+):\w+>", lambda match: SAMPLES.get(match[1], "nothing"), self.template)
        return f"/{sample}"


def all_routes() -> Iterator[Route]:
    for pattern in get_resolver().url_patterns:
        if isinstance(pattern, URLPattern) and issubclass(getattr(pattern.callback, "cls", object), ViewSetMixin):
            yield from _routes_of_pattern(pattern)


def protected_routes() -> list[Route]:
    return [route for route in all_routes() if not route.public]


def _routes_of_pattern(pattern: URLPattern) -> Iterator[Route]:
    callback: Any = pattern.callback
    settings = {"permission_classes": callback.cls.permission_classes, "scopes": getattr(callback.cls, "scopes", ())}
    settings |= callback.initkwargs
    for method in callback.actions:
        if method != "head":
            public = AllowAny in settings["permission_classes"]
            yield Route(method.upper(), str(pattern.pattern), public, tuple(settings["scopes"]))
