"""Secrets are planted by real requests, and looked for in all output.

What is searched: every response, the logs of a web process and its workers at their most talkative, a dump of every
table, and every command that Valkey was sent.
"""

import base64
import json
import re
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from cryptography.fernet import Fernet
from django.conf import settings
from django.db import connection

from accounts.models import User
from agents.models import ProviderKey
from testing.client import PASSWORD, Api
from testing.loopback.upstream import Answer, Upstream, completion, delta
from testing.servers import daphne, worker
from testing.stripe import Stripe
from tools.stripe_double.double import Double

STEPS = {"steps": [{"agent": "code-review"}, {"agent": "documentation"}], "context": "x = 1"}
BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4}){6,}")
TABLES = "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"


def made_up(prefix: str = "") -> str:
    """Return a secret that is nowhere else; without a prefix it has no known form."""
    return prefix + secrets.token_urlsafe(30).replace("-", "x").replace("_", "y")


@dataclass
class Planted:
    """The secrets by what they are, and all that was heard while they were used.

    Args:
        said: responses, each with what it alone may hold.
        wire: what Valkey was told.
    """

    secrets: dict[str, str] = field(default_factory=dict)
    said: list[tuple[str, str]] = field(default_factory=list)
    wire: list[str] = field(default_factory=list)

    def hear(self, response: httpx.Response, mine: str = "") -> httpx.Response:
        self.said.append((f"{response.url} {response.status_code} {response.headers.raw} {response.text}", mine))
        return response

    def found_in(self, text: str, but: str = "") -> set[str]:
        text = unfolded(text)
        return {kind for kind, secret in self.secrets.items() if secret in text and secret != but}


def unfolded(text: str) -> str:
    """Return a text with its base64 parts decoded, as bodies of queued messages have."""
    return text + " ".join(base64.b64decode(part).decode(errors="replace") for part in BASE64.findall(text))


@pytest.fixture(scope="module")
def planted() -> Planted:
    kinds = {
        "server's provider key": "sk-",
        "server's second provider key": "",
        "own provider key": "sk-",
        "own provider key of another kind": "",
        "own provider key in a wrong place": "sk-ant-",
        "API key": "lnos_live_",
        "password": "",
        "wrong password": "",
        "weak password": "password",
        "Django's secret key": "",
        "JWT secret": "",
        "mail key": "re_1",
        "Stripe key": "sk_test_",
        "Stripe webhook secret": "whsec_",
        "metrics token": "",
    }
    found = {kind: made_up(prefix) for kind, prefix in kinds.items()}
    found["Django's secret key"] += made_up()
    return Planted({**found, "encryption key": Fernet.generate_key().decode()})


def environment_of(planted: Planted, upstream: Upstream, stripe: Double, folder: Path) -> dict[str, str]:
    kept = planted.secrets
    return {
        "DJANGO_SECRET_KEY": kept["Django's secret key"],
        "LUNAOS_ENCRYPTION_KEYS": kept["encryption key"],
        "LUNAOS_JWT_KEYS": f"2026={kept['JWT secret']}",
        "DEEPSEEK_BASE_URL": upstream.base_url,
        "DEEPSEEK_API_KEY": kept["server's provider key"],
        "OPENAI_BASE_URL": upstream.base_url,
        "OPENAI_API_KEY": kept["server's second provider key"],
        "ANTHROPIC_BASE_URL": upstream.base_url,
        "STRIPE_SECRET_KEY": kept["Stripe key"],
        "STRIPE_WEBHOOK_SECRETS": kept["Stripe webhook secret"],
        "STRIPE_API_HOST": stripe.url,
        "LUNAOS_MAIL_FOLDER": str(folder / "mail"),
        "LUNAOS_METRICS_TOKEN": kept["metrics token"],
        "LUNAOS_LOG_LEVEL": "DEBUG",
        "LLM_RETRIES": "1",
    }


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def valkey(database: None) -> Iterator[Any]:
    """Return a Valkey database of its own, whose queues no other test's workers serve."""
    base, _, number = settings.REDIS_URL.partition("?db=")
    client = redis.Redis.from_url(f"{base}?db={int(number) + 8}")
    client.flushdb()
    yield client
    client.flushdb()
    client.close()


@pytest.fixture
def api(valkey: Any, planted: Planted, upstream: Upstream, stripe: Stripe, logs: Path) -> Iterator[Api]:
    """Return a platform with planted settings: web process and workers."""
    number = valkey.get_connection_kwargs()["db"]
    changes = environment_of(planted, upstream, stripe.double, logs)
    changes["REDIS_URL"] = f"{settings.REDIS_URL.partition('?db=')[0]}?db={number}"
    with (
        worker(logs / "jobs.log", queue="celery", **changes),
        worker(logs / "chains.log", **changes),
        daphne(logs / "web.log", "/ready", **changes) as url,
        Api(base_url=url, timeout=30) as client,
        client.from_address("127.0.4.1") as elsewhere,  # with a limit to signing in of its own
    ):
        yield elsewhere


@pytest.fixture
def wiretap(planted: Planted, valkey: Any) -> Iterator[None]:
    """Record all commands to Valkey from now on."""
    with valkey.monitor() as monitor:
        listening = threading.Thread(target=listen, args=(monitor, planted.wire), daemon=True)
        listening.start()
        yield
        valkey.echo("that is all")
        listening.join(10)
        assert not listening.is_alive()


def listen(monitor: Any, wire: list[str]) -> None:
    for command in monitor.listen():
        wire.append(str(command["command"]))
        if "that is all" in wire[-1]:
            return


def test_nothing_planted_is_found_anywhere(
    api: Api,
    planted: Planted,
    upstream: Upstream,
    stripe: Stripe,
    make_user: Any,
    logs: Path,
    valkey: Any,
    wiretap: None,
) -> None:
    token = sign_in(api, planted)
    bring_keys(api, planted, token)
    run_on_keys(api, planted, upstream, token)
    pay(api, planted, stripe.double, token)
    knock_with_garbage(api, planted, token)
    visit_the_admin(api, planted, make_user("staff", is_staff=True, is_superuser=True))

    everything_said = {kind for text, mine in planted.said for kind in planted.found_in(text, mine)}
    assert everything_said == set()
    for log in logs.glob("*.log"):
        text = log.read_text()
        assert "request" in text or "Task" in text or "celery" in text  # it is not empty
        assert planted.found_in(text) == set(), log.name
    for table, text in tables():
        assert planted.found_in(text) == set(), table
    wire = "\n".join(planted.wire)
    assert '"callbacks"' in unfolded(wire)  # bodies of queued messages are read
    assert planted.found_in(wire) == set()
    assert planted.found_in("\n".join(stored_in(valkey))) == set()


def sign_in(api: Api, planted: Planted) -> str:
    """Sign-up and logins, right and wrong; the token is a secret from here on."""
    kept, email = planted.secrets, f"{secrets.token_hex(4)}@example.com"
    form = {"email": email, "password": kept["password"]}
    signed_up = api.post("/auth/signup", json=form)
    token = str(signed_up.json()["data"]["token"])
    User.objects.filter(email=email).update(tier="team")  # whose requests are not soon too many
    planted.secrets["token"] = token
    planted.hear(signed_up, mine=token)
    planted.hear(api.post("/auth/signup", json=form))
    planted.hear(api.post("/auth/signup", json={"email": f"1{email}", "password": {"a": kept["weak password"]}}))
    planted.hear(api.post("/auth/signup", json={"email": kept["weak password"], "password": kept["weak password"]}))
    planted.hear(api.post("/auth/login", json={"email": email, "password": kept["wrong password"]}))
    planted.hear(api.post("/auth/login", content=json.dumps(form)[:-3], headers={"Content-Type": "application/json"}))
    logged_in = api.post("/auth/login", json=form)
    again = str(logged_in.json()["data"]["token"])
    planted.secrets["token of the login"] = again
    planted.hear(logged_in, mine=again)
    return token


def pay(api: Api, planted: Planted, double: Double, token: str) -> None:
    """Checkout, a signed event, an unsigned one, and a Stripe that refuses the key."""
    headers = {"Authorization": f"Bearer {token}"}
    double.deliveries(automatic=False)
    session = planted.hear(api.post("/billing/checkout", json={"tier": "pro"}, headers=headers))
    double.pay(session.json()["data"]["sessionId"])
    body = json.dumps(double.events("customer.subscription.created")[-1])
    for secret, status in ((planted.secrets["Stripe webhook secret"], 200), ("whsec_other", 400)):
        signed = {"Stripe-Signature": double.sign(body, secret=secret)}
        assert planted.hear(api.post("/billing/webhook", content=body, headers=signed)).status_code == status
    assert planted.hear(api.get("/billing/subscription", headers=headers)).json()["data"]["status"] == "active"
    double.fault("/v1/", status=401)
    assert planted.hear(api.post("/billing/portal", headers=headers)).status_code in (409, 503)


def bring_keys(api: Api, planted: Planted, token: str) -> None:
    """Own keys, well and ill sent."""
    kept, headers = planted.secrets, {"Authorization": f"Bearer {token}"}
    key, other, stray = (kept[f"own provider key{kind}"] for kind in ("", " of another kind", " in a wrong place"))
    json_headers = {**headers, "Content-Type": "application/json"}
    assert planted.hear(api.put("/providers/deepseek/key", json={"key": key}, headers=headers)).status_code == 200
    assert planted.hear(api.put("/providers/anthropic/key", json={"key": other}, headers=headers)).status_code == 200
    for name, body in (
        ("deepseek", {"key": f"{stray} with a space"}),
        ("deepseek", {"key": [stray]}),
        ("deepseek", {"key": {"a": stray}}),
        ("acme", {"key": stray}),
        ("local", {"key": stray}),
        ("deepseek", {"keys": stray}),
    ):
        assert planted.hear(api.put(f"/providers/{name}/key", json=body, headers=headers)).status_code == 400
    planted.hear(api.put("/providers/deepseek/key", content=f'{{"key": "{stray}', headers=json_headers))
    planted.hear(api.put("/providers/deepseek/key", content=stray, headers=headers))
    planted.hear(api.put(f"/providers/deepseek/key?key={stray}", json={}, headers=headers), mine=stray)  # in its URL
    planted.hear(api.get("/providers", headers=headers))


def run_on_keys(api: Api, planted: Planted, upstream: Upstream, token: str) -> None:
    """Agents and chains on own and server keys, with a provider that echoes."""
    headers = {"Authorization": f"Bearer {token}"}
    for provider in ("deepseek", "anthropic", "openai"):
        for answer in (
            completion("fine"),
            echoes(401),
            echoes(403),
            echoes(400),
            echoes(429),
            echoes(500),
            *breaks_off(),
        ):
            upstream.script = lambda asked, answer=answer: answer(upstream) if callable(answer) else answer  # type: ignore[misc]
            body = {"agent": "code-review", "context": "x = 1", "provider": provider}
            planted.hear(api.post("/agents/execute", json=body, headers=headers))
        for answer in (completion("fine"), echoes(401), *breaks_off()):
            upstream.script = lambda asked, answer=answer: answer(upstream) if callable(answer) else answer  # type: ignore[misc]
            planted.hear(api.post("/chains/execute", json={**STEPS, "provider": provider}, headers=headers))
    assert len({request["Authorization"] for request in upstream.headers}) == 3
    runs = planted.hear(api.get("/runs?limit=100", headers=headers)).json()["data"]["runs"]
    assert len(runs) == 3 * 12
    for run in runs:
        assert planted.hear(api.get(f"/runs/{run['id']}", headers=headers)).status_code == 200
        assert planted.hear(api.get(f"/runs/{run['id']}/events", headers=headers)).status_code == 200


def echoes(status: int) -> Any:
    """Return a refusal that repeats the key in its body and headers."""

    def answer(upstream: Upstream) -> Answer:
        key = upstream.headers[-1]["Authorization"]
        body = json.dumps({"error": {"message": f"Incorrect API key provided: {key}", "key": key}}).encode()
        return Answer(status=status, body=body, headers={"WWW-Authenticate": key, "X-Request-Id": key.split()[-1]})

    return answer


def breaks_off() -> tuple[Any, Any]:
    """Answers that repeat the key in an error of their stream, or outside of JSON."""

    def reported(upstream: Upstream) -> Answer:
        error = json.dumps({"error": {"message": f"bad key {upstream.headers[-1]['Authorization']}"}})
        return Answer(pieces=[delta("half"), f"data: {error}\n\n".encode()])

    def garbled(upstream: Upstream) -> Answer:
        return Answer(pieces=[f"data: {upstream.headers[-1]['Authorization']}\n\n".encode()])

    return reported, garbled


def knock_with_garbage(api: Api, planted: Planted, token: str) -> None:
    """Credentials that stand for nobody, and secrets where none belong."""
    kept = planted.secrets
    key, stray = kept["API key"], kept["own provider key in a wrong place"]
    headers = {"Authorization": f"Bearer {token}"}
    made = api.post("/api-keys", json={"name": "CI"}, headers=headers)
    planted.secrets["API key that works"] = mine = made.json()["data"]["key"]
    planted.hear(made, mine=mine)
    planted.hear(api.get("/api-keys", headers=headers))
    planted.hear(api.get("/chains", headers={"Authorization": f"Bearer {mine}"}))
    planted.hear(api.put("/providers/deepseek/key", json={"key": mine}, headers={"Authorization": f"Bearer {mine}"}))
    planted.hear(api.post("/api-keys/revoke-leaked", json={"key": mine}))
    planted.hear(api.post("/api-keys/revoke-leaked", json={"key": [mine]}))
    planted.hear(api.get("/chains", headers={"Authorization": f"Bearer {mine}"}))
    planted.hear(api.get("/auth/activity", headers=headers))
    for authorization in (f"Bearer {key}", f"Bearer {token}x", f"Basic {key}", f"bearer {kept['password']}", key):
        planted.hear(api.get("/auth/me", headers={"Authorization": authorization}))
    planted.hear(api.get(f"/nowhere/{stray}"), mine=stray)  # in its URL
    for token_shown, status in ((kept["metrics token"], 200), (kept["password"], 401)):
        shown = planted.hear(api.get("/metrics", headers={"Authorization": f"Bearer {token_shown}"}))
        assert shown.status_code == status
    planted.hear(api.get("/health", headers={"Host": stray, "Cookie": f"sessionid={key}"}))
    planted.hear(api.post("/agents/execute", content=stray, headers={"Authorization": f"Bearer {token}"}))


def visit_the_admin(api: Api, planted: Planted, staff: Any) -> None:
    """Return the admin's login form, and the pages that show keys, runs and users."""
    with httpx.Client(base_url=api.base_url, follow_redirects=True) as client:
        for password in (planted.secrets["wrong password"], PASSWORD):
            page = client.get("/admin/login/")
            token = page.text.split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
            form = {"username": staff.email, "password": password, "csrfmiddlewaretoken": token, "next": "/admin/"}
            planted.hear(client.post("/admin/login/", data=form))
        own = ProviderKey.objects.first()
        assert own
        planted.secrets["sealed key"] = own.sealed
        for path in ("", "agents/providerkey/", f"agents/providerkey/{own.pk}/change/", "runs/run/", "accounts/user/"):
            assert planted.hear(client.get(f"/admin/{path}")).status_code == 200
        assert planted.found_in(dict(tables())["agents_providerkey"]) == {"sealed key"}
        del planted.secrets["sealed key"]


def tables() -> Iterator[tuple[str, str]]:
    """Every table with all its rows as text."""
    with connection.cursor() as cursor:
        cursor.execute(TABLES)
        names = [name for (name,) in cursor.fetchall()]
        for name in names:
            cursor.execute(f"SELECT t::text FROM {name} AS t")
            yield name, "\n".join(row for (row,) in cursor.fetchall())


def stored_in(client: Any) -> Iterator[str]:
    readers = {
        b"string": client.get,
        b"list": lambda name: client.lrange(name, 0, -1),
        b"set": client.smembers,
        b"zset": lambda name: client.zrange(name, 0, -1),
        b"hash": client.hgetall,
        b"stream": client.xrange,
    }
    for name in client.scan_iter():
        yield f"{name} {readers[client.type(name)](name)}"
