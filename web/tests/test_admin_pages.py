"""The admin in a browser: charts are drawn, and the console is empty."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import Group
from djstripe.models import Invoice, Subscription
from playwright.sync_api import Page

from accounts.auditlog import trail
from accounts.auditlog.trail import Action
from accounts.models import AuditEvent
from billing.models import Grant, WebhookEvent
from runs import stats
from runs.models import Run, RunStep, RunText, Status
from runs.tests.test_stats import add_run
from testing.browser import NewPage, save_screenshot
from testing.client import PASSWORD, Api
from testing.loopback.upstream import Upstream
from testing.second_factor import current_code
from testing.stripe import Stripe
from web.tests.test_admin_queries import customer

SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


@pytest.fixture
def page(browser_page: NewPage, api: Api, make_user: Any) -> Page:
    """Return a superuser's, who has come in with the second factor."""
    user = make_user("staff", is_staff=True, is_superuser=True)
    opened = browser_page(
        base_url=str(api.base_url), viewport={"width": 1440, "height": 900}, expected=["404 (Not Found)"]
    )
    opened.set_default_timeout(10_000)
    opened.goto("/admin/")
    opened.get_by_label("Email").fill(user.email)
    opened.get_by_label("Password").fill(PASSWORD)
    opened.get_by_label("Code").fill(current_code(user))
    opened.get_by_role("button", name="Log in").click()
    opened.get_by_role("heading", name="Dashboard").wait_for()
    return opened


@pytest.fixture
def some_runs(api: Api, alice: Any, bob: Any, upstream: Upstream) -> str:
    """Execute a run, add some of the days before; return the first one's id."""
    run_id = api.execute(alice).headers["X-Run-Id"]
    for n in range(1, 30):
        status = Status.FAILED if n % 5 == 0 else Status.SUCCEEDED
        at = datetime.now(UTC) - timedelta(hours=7 * n)
        add_run(
            bob, at, status=status, first_token_ms=100 * n, cost_usd=n, error_code="" if n % 5 else "provider_error"
        )
    stats.count_since()
    stats.record_backlog("chains", 3)
    return run_id


def test_the_dashboard(page: Page, some_runs: str) -> None:
    for span, columns in (("24 hours", 4), ("7 days", 7), ("30 days", 9)):
        page.get_by_role("link", name=span).click()
        page.locator(f'.luna-ranges [aria-current]:has-text("{span}")').wait_for()
        runs = page.locator("section", has=page.get_by_role("heading", name="Runs by"))
        assert runs.locator("g:has(rect)").count() >= columns
        box = runs.locator("rect.is-succeeded").last.bounding_box()
        assert box and box["width"] > 3 and box["height"] > 3
        points = page.locator("section", has_text="Time to first token").locator("circle")
        assert points.count() >= 2 * columns - 2
    assert page.locator("polyline").count() == 2
    assert page.get_by_text("$435").first.is_visible()
    runs.get_by_text("As a table").click()
    assert runs.get_by_role("cell", name="1").first.is_visible()
    page.get_by_role("row", name="database").get_by_text("ok").wait_for()  # the parts come after the page


def test_failures_lead_to_their_runs(page: Page, some_runs: str) -> None:
    page.goto("/admin/")
    failures = page.locator("section", has=page.get_by_role("heading", name="Newest failures"))
    failures.get_by_role("link").first.click()
    newest = Run.objects.filter(status=Status.FAILED).order_by("-created_at")[0]
    assert str(newest.pk) in page.url
    page.get_by_text("provider_error").wait_for()


def test_todays_failed_runs(page: Page, alice: Any, bob: Any) -> None:
    """As a newcomer finds them: from the dashboard, by what the links say."""
    now = datetime.now(UTC)
    failed = add_run(alice, now, status=Status.FAILED, error_code="provider_error")
    add_run(alice, now)
    add_run(bob, now - timedelta(days=1), status=Status.FAILED)
    page.goto("/admin/")
    page.get_by_role("link", name="Failed runs of today").click()
    rows = page.locator("#result_list tbody tr")
    rows.first.wait_for()
    assert rows.count() == 1 and alice.email in rows.inner_text()
    rows.get_by_role("link", name=re.compile("20")).first.click()
    page.get_by_text("provider_error").wait_for()
    assert str(failed.pk) in page.url


def test_a_tier_is_set(page: Page, alice: Any) -> None:
    page.goto(f"/admin/accounts/user/?q={alice.email}")
    page.get_by_role("link", name=alice.email).click()
    page.get_by_role("button", name="Set tier").click()
    page.get_by_label("Tier").select_option("pro")
    page.get_by_role("button", name="Set tier").click()
    page.get_by_text("This field is required.").wait_for()  # why, is asked
    page.get_by_label("Reason").fill("A trial")
    page.get_by_role("button", name="Set tier").click()
    page.get_by_text(f"{alice.email} is on pro now.").wait_for()
    assert page.url.endswith(f"/{alice.pk}/change/")
    page.get_by_role("cell", name="A trial", exact=True).wait_for()
    assert Grant.objects.get(user=alice).tier_id == "pro"


def test_a_list_is_exported(page: Page, alice: Any) -> None:
    page.goto(f"/admin/accounts/user/?q={alice.email}")
    with page.expect_download() as download:
        page.get_by_role("button", name="Export as CSV").click()
    assert alice.email in download.value.path().read_text()


def keep_both(opened: Page, name: str, whole: bool = True) -> None:
    """Take a picture in light and one in dark, each of a page loaded so."""
    for scheme in SCHEMES:
        opened.emulate_media(color_scheme=scheme)
        if "/admin/" in opened.url:
            opened.reload()
            opened.locator("html.dark").wait_for(state="attached" if scheme == "dark" else "detached")
        save_screenshot(opened, f"{name}-{scheme}", whole=whole)


@pytest.mark.clients
def test_pictures_of_the_pages(page: Page, browser_page: NewPage, some_runs: str, bob: Any) -> None:
    """For people who look at them; here each only has to come."""
    stranger = browser_page(base_url=page.url)
    pages = [("login", stranger, "/admin/login/")]
    pages += [
        (name, page, path)
        for name, path in {
            **{"landing": "/", "status": "/status", "reference": "/docs/api", "docs": "/docs", "error": "/nowhere"},
            **{"dashboard": "/admin/", "users": "/admin/accounts/user/", "runs": "/admin/runs/run/"},
            **{"user": f"/admin/accounts/user/{bob.pk}/change/"},
        }.items()
    ]
    for name, opened, path in pages:
        opened.goto(path)
        opened.locator(".opblock" if name == "reference" else "h1").first.wait_for(timeout=60_000)
        keep_both(opened, name, whole=name != "reference")


def test_no_table_is_wider_than_its_page(page: Page, bob: Any) -> None:
    """At 1280 pixels staff see all columns of the tiers, and whole events of Stripe."""
    payer = customer(bob)
    payer.livemode = False
    payer.save()
    event = {"id": f"evt_{'0' * 24}", "kind": "customer.subscription.updated", "made_at": datetime.now(UTC)}
    WebhookEvent.objects.create(customer_id=payer.id, **event)
    page.set_viewport_size({"width": 1280, "height": 900})
    for path, table in (("billing/tier/", "#result_list"), (f"accounts/user/{bob.pk}/change/", ".luna-table")):
        page.goto(f"/admin/{path}")
        page.locator(table).first.wait_for()
        save_screenshot(page, path.replace("/", "-"))
        wide = "(tables) => tables.filter((each) => each.scrollWidth > each.parentElement.clientWidth + 1).length"
        assert page.locator(table).evaluate_all(wide) == 0, path


def test_light_and_dark(page: Page) -> None:
    page.goto("/admin/")
    for theme in ("Dark", "Light"):
        page.locator(".material-symbols-outlined", has_text="unfold_more").click()
        page.get_by_text(theme, exact=True).click()
        page.locator(f"html.{theme.lower()}").wait_for()
        page.reload()
        page.locator(f"html.{theme.lower()}").wait_for()


def test_the_sidebar_closes_and_stays_closed(page: Page) -> None:
    page.goto("/admin/")
    page.locator(".material-symbols-outlined:visible", has_text="dock_to_right").click()
    page.locator("#nav-sidebar").wait_for(state="hidden")
    page.reload()
    page.locator("#nav-sidebar").wait_for(state="hidden")


def test_an_action_asks_first(page: Page, alice: Any) -> None:
    page.goto(f"/admin/accounts/user/?q={alice.email}")
    page.locator("tbody .action-select").check()
    page.locator('select[name="action"]').select_option("disable")
    page.get_by_role("button", name="Run").click()
    assert page.get_by_text(alice.email).is_visible()
    page.get_by_role("button", name="Yes, continue").click()
    page.get_by_text("1 account is disabled.").wait_for()
    alice.refresh_from_db()
    assert not alice.is_active


def test_a_form_is_sent(page: Page, alice: Any) -> None:
    page.goto(f"/admin/accounts/user/{alice.pk}/change/")
    page.get_by_label("Name").fill("Alice Liddell")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("was changed successfully").wait_for()
    alice.refresh_from_db()
    assert alice.name == "Alice Liddell"


def test_filters_open(page: Page, alice: Any, bob: Any) -> None:
    page.goto("/admin/accounts/user/")
    page.get_by_text("Filters").first.click()
    page.locator("#changelist-filter").get_by_role("link", name="pro", exact=True).click()
    page.get_by_text(bob.email).wait_for()
    assert page.get_by_text(alice.email).count() == 0


def failed_chain(user: Any, *, said: str, **text: str) -> Run:
    """Return a chain whose second step failed, with all that is known of such a run."""
    took: dict[str, Any] = {
        "input_tokens": 4812,
        "output_tokens": 1240,
        "reasoning_tokens": 960,
        "cache_read_tokens": 3584,
    }
    took |= {"tokens_estimated": True, "cost_usd": "0.001234", "cost_known": False}
    times: dict[str, Any] = {"duration_ms": 5321, "first_token_ms": 812, "finished_at": datetime.now(UTC)}
    why: dict[str, Any] = {"status": Status.FAILED, "error_code": "provider_error", "provider_status": 400}
    run = add_run(user, agent="", chain="full-review", steps=["code-review", "seo"], **why, **took, **times)
    where = {"run_id": run.pk, "expires_at": run.expires_at}
    attempt = {"provider": "openai", "model": "gpt-4o", "code": "provider_error", "status": 400, "said": said}
    sentence = "openai refused the request with status 400."
    RunText.objects.create(**where, error=sentence, last_attempt=attempt, **text)
    step = {"provider": "deepseek", "model": "deepseek-chat", "duration_ms": 2100, "finished_at": run.finished_at}
    RunStep.objects.create(**where, **step, **took, position=1, agent="code-review", status=Status.SUCCEEDED, output="")
    failed = {"status": Status.FAILED, "error_code": "provider_error"}
    RunStep.objects.create(**where, **step, **failed, position=2, agent="seo", output="")
    return run


def test_a_failed_run(page: Page, alice: Any) -> None:
    """It says why in its first screen, and what it took, on a desk and on a phone."""
    said = "Unsupported value: 'temperature' does not support 0.2 with this model at [host][path]."
    run = failed_chain(alice, said=said, input="def add(a, b): return a - b", output="The function subtracts.")
    for name, width in (("run", 1440), ("run-narrow", 390)):
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(f"/admin/runs/run/{run.pk}/change/")
        for text in ("openai refused the request with status 400.", said, "openai/gpt-4o", "0.001234 + unknown"):
            page.get_by_text(text, exact=True).first.wait_for()
        page.get_by_role("cell", name="4812 + 1240 3584 from cache, 960 reasoning, estimated").wait_for()
        keep_both(page, name)
    found = Axe().run(page, context=".luna-facts").response["violations"]
    assert [each["id"] for each in found if each["impact"] in ("serious", "critical")] == []


@pytest.mark.clients
def test_billing_pages(page: Page, stripe: Stripe, alice: Any) -> None:
    """The answer comes first, on a desk and on a phone, and axe finds nothing."""
    stripe.subscribe(alice)
    stripe.wait_for_deliveries()
    invoice = Invoice.objects.get()
    charge = invoice.charges.get()
    stripe.double.refund(charge.id, amount=1000, reason="requested_by_customer")
    stripe.double.set_dispute(stripe.double.dispute(charge.id)["id"], "lost")
    stripe.wait_for_deliveries()
    subscription = Subscription.objects.get()
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        for name, path in {
            "invoice": f"djstripe/invoice/{invoice.pk}/change/",
            "invoices": "djstripe/invoice/",
            "subscription": f"djstripe/subscription/{subscription.pk}/change/",
            "subscriptions": "djstripe/subscription/",
            "events": "billing/webhookevent/",
            "payer": f"accounts/user/{alice.pk}/change/",
        }.items():
            page.goto(f"/admin/{path}")
            page.locator("#content-main, #changelist").first.wait_for()
            save_screenshot(page, f"billing-{name}-{width}", whole=True)
            assert page.evaluate("document.documentElement.scrollWidth") == width, (path, width)
            ours = ".luna-tiles, .luna-grid" if name == "payer" else "main, #content"
            found = Axe().run(page, context=ours).response["violations"]
            assert [(each["id"], each["nodes"][0]["html"]) for each in found] == [], path
    page.set_viewport_size({"width": 1280, "height": 900})
    page.goto(f"/admin/djstripe/invoice/{invoice.pk}/change/")
    answer = page.get_by_text("29.00 USD were charged on").bounding_box()
    assert answer and answer["y"] < 300
    wide = "(tables) => tables.filter((each) => each.scrollWidth > each.parentElement.clientWidth + 1).length"
    for path in ("djstripe/invoice/", "djstripe/subscription/", "billing/webhookevent/"):
        page.goto(f"/admin/{path}")
        assert page.locator("#result_list").evaluate_all(wide) == 0, path


@pytest.mark.clients
def test_nothing_leaves_the_window(page: Page, alice: Any) -> None:
    """No page scrolls sideways, on a desk or on a phone, with the longest content."""
    Grant.objects.create(user=alice, tier_id="team", reason="For a talk that takes a while to tell about " * 4)
    run = failed_chain(alice, input="x" * 3000, output="word " * 900, said="z" * 300)
    trail.record_on_commit(Action.TIER_CHANGED, actor=alice, subject=alice, reason="y" * 200)
    event = AuditEvent.objects.filter(action=Action.TIER_CHANGED).latest("id")
    paths = [
        f"accounts/user/{alice.pk}/change/",
        f"runs/run/{run.pk}/change/",
        f"auth/group/{Group.objects.get(name='Admin').pk}/change/",
    ]
    for path in (*paths, f"accounts/auditevent/{event.pk}/change/"):
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 800})
            page.goto(f"/admin/{path}")
            page.locator("fieldset").first.wait_for()
            assert page.evaluate("document.documentElement.scrollWidth") == width, (path, width)


@pytest.mark.clients
def test_no_page_logs_an_error_in_the_console(page: Page, some_runs: str, alice: Any) -> None:
    """Nothing in the console; the fixture looks."""
    paths = [
        *("accounts/user/", "accounts/user/add/", f"accounts/user/{alice.pk}/change/", "accounts/auditevent/"),
        *(f"accounts/user/{alice.pk}/{part}/" for part in ("password", "history", "delete")),
        *("agents/agent/", "agents/agent/add/", "agents/languagemodel/", "agents/providerkey/"),
        *("chains/chainpreset/", "chains/chainpreset/add/"),
        *("apikeys/apikey/", "auth/group/", "auth/group/add/", "billing/tier/pro/change/", "billing/monthlyusage/"),
        *("rag/repository/", "rag/indexjob/", "runs/run/", f"runs/run/{some_runs}/change/", "runs/run/storage/"),
        *("parts/", "password_change/", "find/", "refusals/refusal/"),
    ]
    for path in paths:
        response = page.goto(f"/admin/{path}")
        assert response and response.status == 200, path
        policy = response.headers["content-security-policy"]
        assert "unsafe" not in policy, path
