"""Fixtures of all tests: real servers, and users with known names."""

import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import Popen
from typing import Any

import daphne.server
import httpx
import pytest
from django.contrib.auth.hashers import make_password
from django.db import connection

import testing.database
from lunaos.embedded.servers import until
from testing import forkserver, lanes
from testing.browser import browser_page, chromium
from testing.client import METRICS_TOKEN, NO_TRUSTED_AUTHORITIES, PASSWORD, Api
from testing.loopback.upstream import Upstream
from testing.mailbox import Mailbox
from testing.servers import daphne, worker
from tools.stripe_double.double import Double

Cast = Callable[..., Any]
__all__ = ("browser_page", "chromium")


def pytest_configure(config: pytest.Config) -> None:
    """Have a test process die with the pytest that started it; its own children die with it."""
    if hasattr(config, "workerinput") and forkserver.IS_POSSIBLE:
        forkserver.die_with_parent()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests before `-m` chooses among them."""
    lanes.mark(items)


def pytest_runtest_setup(item: pytest.Item) -> None:
    lanes.require_model(item)


def pytest_sessionfinish() -> None:
    """End the process from which this one forked its servers."""
    forkserver.stop()


@pytest.fixture(scope="session")
def django_db_setup(
    django_test_environment: None, django_db_modify_db_settings: None, django_db_blocker: Any
) -> Iterator[None]:
    """Make a database for each test process, with catalogue and partitions; tests see committed data."""
    before = connection.settings_dict["NAME"]
    name = str(connection.settings_dict["TEST"]["NAME"] or f"test_{before}")  # pytest-django tells workers apart
    with django_db_blocker.unblock():
        testing.database.create(name)
    yield
    with django_db_blocker.unblock():
        testing.database.drop(name, before)


@pytest.fixture
def database(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Access to the database and Valkey, which are cleared after the test."""
    from lunaos.infra import client_info
    from web import health_checks

    health_checks.clear_results()
    client_info.set_current(address="", user_agent="")
    with django_db_blocker.unblock():
        testing.database.clear_valkey()  # not afterwards, when a test may have replaced the client
        yield
        testing.database.clear()


@pytest.fixture(scope="session")
def password_hash() -> str:
    return make_password(PASSWORD)


@pytest.fixture
def make_user(database: None, password_hash: str) -> Cast:
    """Create users with the password PASSWORD."""
    from accounts.models import User

    def make(name: str = "dora", **fields: Any) -> Any:
        email = f"{name}-{uuid.uuid4().hex[:8]}@example.com"
        return User.objects.create(email=email, name=name.title(), password=password_hash, **fields)

    return make


@pytest.fixture
def alice(make_user: Cast) -> Any:
    """Free."""
    return make_user("alice")


@pytest.fixture
def bob(make_user: Cast) -> Any:
    """Pro."""
    return make_user("bob", tier="pro")


@pytest.fixture
def carol(make_user: Cast) -> Any:
    """Team."""
    return make_user("carol", tier="team")


@pytest.fixture
def charlie(make_user: Cast) -> Any:
    """Return a user who must see no data of the others."""
    return make_user("charlie")


@pytest.fixture
def bounds(database: None) -> Iterator[Cast]:
    """Set bounds of a tier for one test: `bounds("free", executions_at_once=2)`; servers hear of it within seconds."""
    from billing import tiers
    from billing.models import Tier

    before = list(Tier.objects.all())

    def change(name: str, **columns: int) -> None:
        Tier.objects.filter(name=name).update(**columns)
        tiers.clear_cache()

    yield change
    for tier in before:
        tier.save()
    tiers.clear_cache()


@pytest.fixture(scope="session")
def upstream_server() -> Iterator[Upstream]:
    with Upstream() as server:
        yield server


@pytest.fixture
def upstream(upstream_server: Upstream) -> Upstream:
    """Return the model provider, which answers "Hello world" unless the test scripts another answer."""
    upstream_server.reset()
    return upstream_server


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of logs and mails of this test process's servers."""
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="session")
def stripe_server() -> Iterator[Double]:
    with Double(webhook_secret="whsec_of_the_double") as double:
        yield double


@pytest.fixture(scope="session")
def stripe_environment(stripe_server: Double) -> dict[str, str]:
    return {
        "STRIPE_SECRET_KEY": "sk_test_plantedStripeSecretKey01",
        "STRIPE_WEBHOOK_SECRETS": stripe_server.webhook_secret,
        "STRIPE_API_HOST": stripe_server.url,
    }


@pytest.fixture(scope="session")
def provider_environment(upstream_server: Upstream, stripe_environment: dict[str, str]) -> dict[str, str]:
    return {
        **stripe_environment,
        "DEEPSEEK_BASE_URL": upstream_server.base_url,
        "DEEPSEEK_API_KEY": "sk-planted-deepseek-secret",
        "OPENAI_BASE_URL": upstream_server.base_url,
        "OPENAI_API_KEY": "sk-planted-openai-secret",
        "ANTHROPIC_BASE_URL": upstream_server.base_url,  # without a key: it is for those who bring one
        "LLM_RETRIES": "1",
    }


@pytest.fixture(scope="session")
def server(
    django_db_setup: None, django_db_blocker: Any, folder: Path, provider_environment: dict[str, str]
) -> Iterator[str]:
    """Return a web process with the scripted provider."""
    changes = {"LUNAOS_STREAM_HEARTBEAT_S": "0.3", "LUNAOS_MAIL_FOLDER": str(folder / "mail"), **provider_environment}
    changes["LUNAOS_METRICS_TOKEN"] = METRICS_TOKEN
    with django_db_blocker.unblock(), daphne(folder / "web.log", "/ready", **changes) as url:
        yield url


@pytest.fixture(scope="session")
def impatient_server(
    django_db_setup: None, django_db_blocker: Any, folder: Path, provider_environment: dict[str, str]
) -> Iterator[str]:
    """Return a web process with short timeouts, which falls back from deepseek to openai."""
    changes = {
        "LLM_FIRST_TOKEN_TIMEOUT_S": "0.6",
        "LLM_IDLE_TIMEOUT_S": "0.5",
        "LLM_QUEUE_TIMEOUT_S": "1.5",
        "LLM_RUN_TIMEOUT_S": "2",
        "LLM_FALLBACK": "deepseek,openai",
        **provider_environment,
    }
    with django_db_blocker.unblock(), daphne(folder / "impatient.log", "/ready", **changes) as url:
        yield url


@pytest.fixture(scope="session")
def worker_process(
    django_db_setup: None, django_db_blocker: Any, folder: Path, provider_environment: dict[str, str]
) -> Iterator["Popen[bytes]"]:
    with django_db_blocker.unblock(), worker(folder / "chains.log", **provider_environment) as child:
        yield child


@pytest.fixture
def chains_worker(database: None, worker_process: "Popen[bytes]") -> "Popen[bytes]":
    """Return a worker of chains, with the scripted provider."""
    return worker_process


@pytest.fixture(scope="session")
def jobs_process(django_db_setup: None, django_db_blocker: Any, folder: Path) -> Iterator["Popen[bytes]"]:
    """Return a worker of short jobs, one at a time."""
    changes = {"LUNAOS_MAIL_FOLDER": str(folder / "mail")}
    with (
        django_db_blocker.unblock(),
        worker(folder / "jobs.log", queue="celery", concurrency="1", **changes) as child,
    ):
        yield child


@pytest.fixture
def mailbox(make_user: Cast, jobs_process: "Popen[bytes]", folder: Path) -> Mailbox:
    """Mails that the worker has sent."""
    from accounts import tasks

    def mark() -> str:
        user = make_user("mark")
        tasks.send_welcome.delay(str(user.pk))
        return str(user.email)

    return Mailbox(folder / "mail", mark)


@pytest.fixture
def api(database: None, server: str) -> Iterator[Api]:
    with Api(base_url=server, timeout=30) as client:
        yield client


@pytest.fixture
def staff(api: Api, make_user: Any) -> Iterator[httpx.Client]:
    """Return a browser session of a superuser with a second factor."""
    from testing.second_factor import current_code

    user = make_user("staff", is_staff=True, is_superuser=True)
    with httpx.Client(base_url=api.base_url, verify=NO_TRUSTED_AUTHORITIES, follow_redirects=True) as client:
        page = client.get("/admin/login/")
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        assert token
        form = {"username": user.email, "password": PASSWORD, "csrfmiddlewaretoken": token[1], "next": "/admin/"}
        form["code"] = current_code(user)
        assert "Dashboard" in client.post("/admin/login/", data=form).text
        yield client


@pytest.fixture
def configured(settings: Any, stripe_environment: dict[str, str]) -> None:
    """Configure Stripe in the test process as in the servers."""
    settings.STRIPE_KEY = stripe_environment["STRIPE_SECRET_KEY"]
    settings.STRIPE_WEBHOOK_SECRETS = [stripe_environment["STRIPE_WEBHOOK_SECRETS"]]
    settings.STRIPE_HOST = stripe_environment["STRIPE_API_HOST"]


@pytest.fixture
def stripe(api: Api, server: str, stripe_server: Double, configured: None) -> Iterator[Any]:
    """Stripe, as its double plays it, with the platform's prices."""
    from billing.payments import plans
    from testing.stripe import WITHIN_S, Stripe, clear_stripe

    stripe_server.webhook_url = f"{server}/billing/webhook"
    stripe_server.reset()
    plans.sync_plans()
    yield Stripe(stripe_server, api)
    stripe_server.reset()
    assert until(clear_stripe, WITHIN_S)


@pytest.fixture
def local_stripe(stripe_server: Double, configured: None, database: None) -> Iterator[Any]:
    """Stripe's double with the platform in this process, which starts no server."""
    from billing.payments import plans
    from testing.stripe import WITHIN_S, LocalStripe, clear_stripe

    stripe_server.webhook_url = None
    stripe_server.reset()
    plans.sync_plans()
    yield LocalStripe(stripe_server)
    stripe_server.reset()
    assert until(clear_stripe, WITHIN_S)


@pytest.fixture
def impatient(database: None, impatient_server: str) -> Iterator[Api]:
    with Api(base_url=impatient_server, timeout=30) as client:
        yield client
