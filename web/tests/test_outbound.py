"""Outbound calls go to the hosts of the settings, from few modules."""

import ast
import gc
from collections.abc import Iterator
from datetime import UTC, datetime
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from django.core import mail
from django.urls import get_resolver

from agents import provider_keys
from billing.models import MonthlyUsage
from rag.errors import EmbeddingsFailed
from rag.search.embeddings import Embedder
from runs.models import Run
from testing import routes
from testing.client import Api, error
from testing.loopback.redirects import RedirectingServer
from testing.loopback.upstream import Upstream
from testing.servers import ROOT, daphne
from web.tests.test_strict_input import body_schema, operations

# Packages that can open a connection to somewhere. A module that needs one is to be named below, with what for.
CLIENTS = {
    *("aiohttp", "anymail", "asyncio.open_connection", "boto3", "djstripe", "ftplib", "grpc", "http.client", "httpx"),
    *(
        "httpx2",
        "imaplib",
        "openai",
        "opentelemetry.exporter",
        "poplib",
        "pycurl",
        "requests",
        "sentry_sdk",
        "smtplib",
        "socket",
        "ssl",
        "stripe",
        "telnetlib",
    ),
    *("urllib.request", "urllib3", "websockets", "xmlrpc"),
}
MEANT_TO = {
    "agents/providers/connections.py": {"aiohttp", "httpx2"},  # the language models' servers
    "agents/providers/bodies.py": {"aiohttp"},
    "rag/search/embeddings.py": {"httpx2", "openai"},  # the embedding model's server
    "accounts/resend.py": {"anymail", "requests"},  # mail
    "*/tasks.py": {"anymail", "smtplib"},  # the names of mail's errors
    "web/provider_reachability.py": {"socket"},  # whether the servers that settings name accept connections
    "lunaos/embedded/*": {"socket", "urllib.request"},  # the servers that make up starts, on the loopback
    "lunaos/infra/observability/spans.py": {
        "opentelemetry.exporter"
    },  # the collector that OTEL_EXPORTER_OTLP_ENDPOINT names
    "lunaos/infra/observability/sentry.py": {"sentry_sdk"},  # the Sentry that SENTRY_DSN names
    "billing/*": {"djstripe", "requests", "stripe"},  # payments
}
OUR_APPS = ("lunaos", "accounts", "refusals", "billing", "apikeys", "runs", "rag", "agents", "chains", "web")


@cache
def sources() -> dict[str, ast.Module]:
    """Return the modules that are deployed, by path."""
    paths = (path for app in OUR_APPS for path in sorted((ROOT / app).rglob("*.py")))
    ours = (path for path in paths if "tests" not in path.parts and "migrations" not in path.parts)
    # CPython 3.11 raises SystemError if a collection with callbacks, as of hypothesis, runs within `ast.parse`.
    gc.disable()
    try:
        return {str(path.relative_to(ROOT)): ast.parse(path.read_text()) for path in ours}
    finally:
        gc.enable()


def imported(tree: ast.Module) -> Iterator[str]:
    """All that a module imports, with each name that is taken from another."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("importlib.import_module", "__import__"):
            yield ast.unparse(node.args[0]).strip("'\"")
        elif isinstance(node, ast.Attribute):
            yield ast.unparse(node)


@cache
def names() -> dict[str, set[str]]:
    """Return the imports of each module of `sources`."""
    return {path: set(imported(tree)) for path, tree in sources().items()}


def clients_in(names: set[str]) -> set[str]:
    return {client for client in CLIENTS if any(f"{name}.".startswith(f"{client}.") for name in names)}


def allowed(path: str) -> set[str]:
    return set().union(*(clients for place, clients in MEANT_TO.items() if fnmatch(path, place)))


def test_only_modules_that_are_meant_to_reach_out_can() -> None:
    found = {path: clients_in(each) for path, each in names().items()}
    unexpected = {path: clients - allowed(path) for path, clients in found.items() if clients - allowed(path)}
    assert unexpected == {}
    assert found["agents/providers/connections.py"] == {"aiohttp", "httpx2"}  # it is not blind


@pytest.mark.parametrize(
    ("code", "client"),
    [
        ("import requests", "requests"),
        ("import http.client as c", "http.client"),
        ("from urllib.request import urlopen", "urllib.request"),
        ("from urllib import request", "urllib.request"),
        ("import asyncio\nasyncio.open_connection('h', 1)", "asyncio.open_connection"),
        ("def f():\n    import socket", "socket"),
        ("import importlib\nimportlib.import_module('stripe')", "stripe"),
    ],
)
def test_a_new_client_would_be_noticed(code: str, client: str) -> None:
    assert client in clients_in(set(imported(ast.parse(code))))


MODEL_CLIENTS = ("openai.OpenAI", "openai.AsyncOpenAI", "openai.DefaultHttpxClient", "openai.DefaultAioHttpClient")
SENDERS = ("get", "post", "request", "put", "patch", "delete")  # methods of aiohttp's session


def test_every_client_of_a_model_refuses_to_be_led_away() -> None:
    """Each gets our HTTP client, which does not follow redirects."""
    calls = [node for tree in sources().values() for node in ast.walk(tree) if isinstance(node, ast.Call)]
    named = {name: [call for call in calls if ast.unparse(call.func) == name] for name in MODEL_CLIENTS}
    assert [len(named[name]) for name in MODEL_CLIENTS] == [1, 0, 1, 0]
    for call in (*named["openai.OpenAI"], *named["openai.AsyncOpenAI"]):
        (http_client,) = [keyword.value for keyword in call.keywords if keyword.arg == "http_client"]
        assert http_client in (*named["openai.DefaultHttpxClient"], *named["openai.DefaultAioHttpClient"])
    for call in (*named["openai.DefaultHttpxClient"], *named["openai.DefaultAioHttpClient"]):
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert given["follow_redirects"] == "False"


def test_every_request_over_aiohttp_refuses_to_be_led_away() -> None:
    """Its sessions follow redirects unless each request says otherwise."""
    tree = sources()["agents/providers/connections.py"]
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    requests = {f"_session(provider.base_url).{name}" for name in SENDERS}
    (sent,) = [call for call in calls if ast.unparse(call.func) in requests]
    assert {keyword.arg: ast.unparse(keyword.value) for keyword in sent.keywords}["allow_redirects"] == "False"


# -- Redirects ---------------------------------------------------------------------------------------------------------


def test_a_language_model_that_redirects(database: None, alice: Any, tmp_path: Path) -> None:
    provider_keys.set_key(user=alice, provider="deepseek", key="sk-own-0123456789")
    with (
        RedirectingServer() as elsewhere,
        daphne(
            tmp_path / "web.log", "/ready", DEEPSEEK_BASE_URL=elsewhere.base_url, OPENAI_BASE_URL=elsewhere.base_url
        ) as url,
        Api(base_url=url, timeout=30) as api,
    ):
        for elsewhere.status in (301, 302, 303, 307, 308):
            assert error(api.execute(alice)) == (502, "provider_error"), elsewhere.status
            assert elsewhere.received == ["/v1/chat/completions"], elsewhere.status
            elsewhere.received.clear()
    assert elsewhere.redirected == []
    assert set(Run.objects.filter(user=alice).values_list("error_code", flat=True)) == {"provider_error"}


def test_an_embedding_model_that_redirects() -> None:
    with RedirectingServer() as elsewhere, pytest.raises(EmbeddingsFailed):
        Embedder(elsewhere.base_url, "sk-planted", "any", 384, 512, retries=0).embed(["text"])
    assert elsewhere.received == ["/v1/embeddings"]
    assert elsewhere.redirected == []


def test_a_mail_provider_that_redirects(settings: Any) -> None:
    settings.EMAIL_BACKEND = "accounts.resend.EmailBackend"
    with RedirectingServer() as elsewhere:
        settings.ANYMAIL = {"RESEND_API_KEY": "re_planted0123", "RESEND_API_URL": f"{elsewhere.base_url}/"}
        with pytest.raises(Exception, match="redirects"):
            mail.send_mail("Subject", "Text", "from@example.com", ["to@example.com"])
    assert len(elsewhere.received) == 1
    assert elsewhere.redirected == []


# -- The one metered path ----------------------------------------------------------------------------------------------


def importers(name: str) -> set[str]:
    return {path for path, each in names().items() if name in each}


def test_a_model_is_asked_by_one_metered_path_only() -> None:
    """The path is client, fallback, Completion.stream, and a reserved run.

    Beside it staff try a prompt in the admin, which is capped, limited and audited instead (docs/adr/0039).
    """
    assert importers("agents.providers.connections") == {"agents/providers/openai_compatible.py"}
    assert importers("agents.providers.openai_compatible.stream") == {"agents/providers/fallback.py"}
    assert importers("agents.providers.fallback") == {"agents/runner.py"}
    assert importers("agents.runner.Completion") == {"agents/services.py", "chains/runner.py", "agents/trial.py"}
    assert importers("agents.trial") == {"agents/trial_admin.py"}
    assert importers("agents.trial_admin") == {"agents/admin.py"}
    assert importers("agents.providers.openai_compatible") <= {
        *("agents/providers/fallback.py", "agents/runner.py", "agents/services.py"),
    }


BODY = {
    **{"agent": "code-review", "context": "x", "chain": "full-review", "provider": "deepseek", "key": "sk-0123456789"},
    **{"files": [{"path": "a.py", "content": "x = 1"}], "query": "x", "tier": "pro", "name": "n", "token": "t"},
    **{"email": "nobody@example.com", "password": "wrong horse 42 battery"},
}
ROUTES = sorted((route.method, route.path.replace("/nothing/key", "/deepseek/key")) for route in routes.all_routes())
CHECKOUT_PAGES = ("/checkout/done", "/checkout/cancelled", "/pricing", "/portal", "/pay", "/billing/webhook")
ACCOUNT_PAGES = ("/confirm-email", "/confirm-email/again", "/forgot-password", "/reset-password")
PAGES = [
    ("GET", path)
    for path in (
        "/",
        "/status",
        "/health",
        "/ready",
        "/metrics",
        "/openapi.json",
        "/docs",
        "/docs/errors",
        "/docs/api",
        "/docs/search",
        "/admin",
        "/llms.txt",
        "/nowhere",
        *CHECKOUT_PAGES,
        *ACCOUNT_PAGES,
    )
]
REACHING = [("POST", "/agents/execute"), ("POST", "/chains/execute")]


MEMBERS = {
    (method, path.replace("/nothing/key", "/deepseek/key")): body_schema(operation)["properties"].keys()
    for method, path, operation in operations()
}
MEMBERS["POST", "/chains/execute"] = {"chain", "context"}  # steps and a preset exclude each other


def knock(api: Api, method: str, path: str, headers: dict[str, str]) -> int:
    """Return the status of a well-formed request."""
    body = {name: value for name, value in BODY.items() if name in MEMBERS.get((method, path), ())}
    return api.request(method, path, json=None if method == "GET" else body, headers=headers).status_code


def test_the_routes_are_all_there() -> None:
    assert {*REACHING, ("PUT", "/providers/deepseek/key"), ("POST", "/rag/search")} <= set(ROUTES)
    others = [pattern for pattern in get_resolver().url_patterns if not hasattr(pattern.callback, "actions")]
    assert len(others) == len(PAGES) + 3  # the admin, its page of parts, and its search


def test_no_route_reaches_a_model_without_credentials(api: Api, upstream: Upstream) -> None:
    with api.from_address("127.0.3.1") as stranger:
        for method, path in ROUTES + PAGES:
            knock(stranger, method, path, {})
    assert upstream.requests == []


def test_no_route_reaches_a_model_when_the_month_is_used_up(api: Api, make_user: Any, upstream: Upstream) -> None:
    """A new user for each: some routes end sessions, and one deletes the account."""
    for method, path in ROUTES:
        user = make_user()
        MonthlyUsage.objects.create(
            user=user, month=datetime.now(UTC).date().replace(day=1), executions=100, chains=0, told_percent=100
        )
        status = knock(api, method, path, api.as_(user))
        assert status == 403 or (method, path) not in REACHING
        assert not Run.objects.filter(user=user).exists()
    assert upstream.requests == []


def test_with_a_month_left_two_routes_do(api: Api, make_user: Any, upstream: Upstream, chains_worker: Any) -> None:
    """So that the tests above would notice something."""
    reaching = []
    for method, path in ROUTES:
        upstream.requests.clear()
        knock(api, method, path, api.as_(make_user()))
        reaching += [(method, path)] if upstream.requests else []
    assert reaching == REACHING
