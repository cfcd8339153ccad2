"""Body limits of the proxies equal `max_body_bytes` of the views."""

import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from django.conf import settings
from django.urls import get_resolver

from lunaos.api import bodies
from lunaos.infra.tests.test_thread_pools import methods_of, views
from testing.servers import ROOT
from testing.stack import CADDY

UNITS = {"k": 2**10, "m": 2**20}
ANNOTATION = "nginx.ingress.kubernetes.io/proxy-body-size"
LIMITS = {
    path: max([settings.MAX_BODY_BYTES, *(bodies.get_body_limit(path, method)[0] for method in methods_of(view))])
    for path, view in views(get_resolver())
    if hasattr(view, "cls") and "<" not in path
}


def adapted(**changes: str) -> Any:
    """Return the Caddyfile as Caddy parses it."""
    command = [str(CADDY), "adapt", "--config", str(ROOT / "deploy" / "Caddyfile"), "--adapter", "caddyfile"]
    done = subprocess.run(command, env={**os.environ, **changes}, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def handlers(part: Any, match: Any = None) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yield all handlers below a part of Caddy's configuration, with their matchers."""
    if isinstance(part, dict):
        if "handler" in part:
            yield match, part
        match = part.get("match", match)
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from handlers(inner, match)


def caddy_takes(config: Any, path: str) -> int:
    """Return the body limit of Caddy on a path."""
    found = []
    for match, handler in handlers(config):
        if handler["handler"] == "request_body":
            (rule,) = match
            negated = "not" in rule
            paths = rule["not"][0]["path"] if negated else rule["path"]
            if (path in paths) != negated:
                found.append(int(handler["max_size"]))
    (limit,) = found
    return limit


def nginx_takes(path: str) -> int:
    """Return the body limit of the example's ingress on a path."""
    limits = {}
    for ingress in yaml.safe_load_all((ROOT / "deploy/kubernetes/example/ingress.yaml").read_text()):
        size = ingress["metadata"]["annotations"][ANNOTATION]
        for rule in ingress["spec"]["rules"]:
            for each in rule["http"]["paths"]:
                limits[each["path"]] = int(size[:-1]) * UNITS[size[-1]]
    return limits.get(path, limits["/"])


def test_caddy() -> None:
    config = adapted()
    assert {path: caddy_takes(config, path) for path in LIMITS} == LIMITS
    assert {path: caddy_takes(config, f"{path.rstrip('/')}/") for path in LIMITS} == LIMITS
    assert len(set(LIMITS.values())) > 1


def test_caddy_follows_the_settings_of_the_platform() -> None:
    config = adapted(LUNAOS_MAX_BODY_BYTES="2000000", LUNAOS_RAG_MAX_BODY_BYTES="3000000")
    assert (caddy_takes(config, "/auth/me"), caddy_takes(config, "/rag/index")) == (2_000_000, 3_000_000)


@pytest.mark.parametrize("path", LIMITS)
def test_the_ingress(path: str) -> None:
    assert nginx_takes(path) == nginx_takes(f"{path.rstrip('/')}/") == LIMITS[path]


def test_caddy_hides_the_metrics_in_both_forms_of_the_path() -> None:
    (hidden,) = [
        match[0]["path"] for match, handler in handlers(adapted()) if handler.get("status_code") == 404 and match
    ]
    assert hidden == ["/metrics", "/metrics/"]


def test_caddy_drops_the_header_by_which_a_client_moves_the_application() -> None:
    deleted = [handler["request"].get("delete", []) for _, handler in handlers(adapted()) if "request" in handler]
    assert ["Daphne-Root-Path"] in deleted
