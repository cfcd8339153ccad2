"""deploy/monitoring: rules, dashboard and scrape config agree with the platform's metrics and with Prometheus."""

import json
import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from lunaos.infra.observability import metrics
from testing.servers import ROOT
from web.metrics import SharedMetrics
from web.metrics import exposition as everything

FOLDER = ROOT / "deploy" / "monitoring"
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())
RULES = [rule for group in yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"] for rule in group["rules"]]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
ASKED = [target["expr"] for panel in PANELS for target in panel["targets"]] + [rule["expr"] for rule in RULES]
METRIC = re.compile(r"\b(?:lunaos|process)_[a-z_]+")
SUFFIXES = re.compile(r"_(bucket|sum|count|created)\Z")
PROMTOOL = shutil.which("promtool")

needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not here: it comes with Debian's prometheus")


def families(registry: CollectorRegistry) -> set[str]:
    """Return the names of all samples, also of metrics without samples."""
    found = set()
    for family in registry.collect():
        found.add(f"{family.name}_total" if family.type == "counter" else family.name)
    return found


@pytest.fixture
def exported(database: None) -> set[str]:
    shared = CollectorRegistry()
    shared.register(SharedMetrics())
    return families(metrics.REGISTRY) | families(shared)


def promtool(*words: str, told: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run([str(PROMTOOL), *words], cwd=FOLDER, input=told, capture_output=True)


def test_queried_metrics_exist(exported: set[str]) -> None:
    asked = {name if name in exported else SUFFIXES.sub("", name) for expr in ASKED for name in METRIC.findall(expr)}
    assert asked - exported == set()


def test_our_metrics_are_shown_and_documented(exported: set[str]) -> None:
    ours = {name for name in exported if name.startswith("lunaos_")}
    shown = {name for panel in PANELS for target in panel["targets"] for name in METRIC.findall(target["expr"])}
    assert ours - shown - {SUFFIXES.sub("", name) for name in shown} == set()
    explained = set(METRIC.findall((ROOT / "docs" / "operate" / "monitoring.md").read_text()))
    assert ours - explained == set()


def test_each_alert_has_its_lines_in_the_runbook() -> None:
    headings = re.findall(r"^## (\w+)$", (ROOT / "docs" / "operate" / "alerts.md").read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(rule["alert"] for rule in RULES)
    for rule in RULES:
        assert rule["annotations"]["runbook"] == f"docs/operate/alerts.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in ("info", "warning", "critical") and rule["annotations"]["summary"]


def test_the_dashboard_is_one_that_grafana_imports() -> None:
    """Grafana requires a data source input, and position and id of each panel; no package has its schema."""
    assert {"uid", "title", "schemaVersion", "panels", "templating", "time", "refresh"} <= DASHBOARD.keys()
    assert [each["type"] for each in DASHBOARD["templating"]["list"]] == ["datasource"]
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(numbers) == len(set(numbers)) and DASHBOARD.get("id") is None
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert place["x"] + place["w"] <= 24 and not cells & taken
        taken |= cells
    for panel in PANELS:
        assert panel["type"] in ("stat", "timeseries") and panel["datasource"]["uid"] == "${datasource}"
        assert panel["fieldConfig"]["defaults"]["unit"] and all(target["refId"] for target in panel["targets"])


@needs_promtool
def test_the_rules_are_prometheus_own() -> None:
    done = promtool("check", "rules", "alerts.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_the_rules_fire_when_they_should_and_not_before() -> None:
    done = promtool("test", "rules", "alerts_test.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_the_scrape_config_is_prometheus_own(tmp_path: Any) -> None:
    for name in ("prometheus.yaml", "alerts.yaml"):
        shutil.copy(FOLDER / name, tmp_path)
    (tmp_path / "token").write_text("x" * 32)
    done = promtool("check", "config", str(tmp_path / "prometheus.yaml"))
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_what_the_platform_shows_is_prometheus_own(database: None) -> None:
    metrics.count_request(method="GET", route="/health", status=200, seconds=0.1)
    done = promtool("check", "metrics", told=everything())
    assert (done.returncode, done.stderr) == (0, b""), done.stdout + done.stderr


@needs_promtool
def test_every_question_of_the_dashboard_is_promql(tmp_path: Any) -> None:
    rules = [
        {"record": f"question_{number}", "expr": expr.replace("$__rate_interval", "1m")}
        for number, expr in enumerate(ASKED)
    ]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = promtool("check", "rules", str(tmp_path / "rules.yaml"))
    assert done.returncode == 0, done.stdout + done.stderr
