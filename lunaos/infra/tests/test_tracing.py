"""Traces from a request through Celery to the provider, at a collector."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from lunaos.embedded.servers import until
from testing.client import Api, events
from testing.loopback.receiver import Receiver
from testing.loopback.upstream import Answer, Upstream
from testing.servers import ROOT, daphne, environment, worker

VALKEY_DATABASE = 11  # where no worker of other tests, which knows no collector, takes the chains
PLANTED = "planted-0123456789"


@pytest.fixture(scope="module")
def collector() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("traced")


@pytest.fixture(scope="module")
def traced_server(
    django_db_setup: None, django_db_blocker: Any, collector: Receiver, logs: Path, provider_environment: dict[str, str]
) -> Iterator[str]:
    """Return a web process and a worker of chains, with tracing."""
    changes = {
        **provider_environment,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{collector.address}",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "REDIS_URL": f"{settings.REDIS_URL.split('?')[0]}?db={VALKEY_DATABASE}",
    }
    with (
        django_db_blocker.unblock(),
        worker(logs / "chains.log", **changes),
        daphne(logs / "web.log", "/ready", **changes) as url,
    ):
        yield url


@pytest.fixture
def traced(database: None, upstream: Upstream, traced_server: str) -> Iterator[Api]:
    with Api(base_url=traced_server, timeout=30) as client:
        yield client


def spans(collector: Receiver) -> list[Any]:
    requests = [ExportTraceServiceRequest.FromString(body) for body in list(collector.bodies)]
    return [
        span
        for each in requests
        for resource in each.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def trace_of(collector: Receiver, run_id: str) -> list[Any]:
    """Return the spans of a run's trace; empty before the run has a span."""
    found = spans(collector)
    traces = {span.trace_id for span in found if attributes(span).get("lunaos.run_id") == run_id}
    return [span for span in found if span.trace_id in traces]


def attributes(span: Any) -> dict[str, Any]:
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


def parents(trace: list[Any]) -> dict[str, str]:
    """Return the name of each span's parent, by its own."""
    names = {span.span_id: span.name for span in trace}
    return {span.name: names.get(span.parent_span_id, "") for span in trace}


def lines(log: Path, run_id: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().split("\n") if line.startswith("{") and run_id in line]


def test_it_works(traced: Api, collector: Receiver, alice: Any, logs: Path) -> None:
    response = traced.execute(alice)
    run_id = events(response)[0]["runId"]

    assert until(lambda: len(trace_of(collector, run_id)) == 3, 10)
    trace = trace_of(collector, run_id)
    assert len({span.trace_id for span in trace}) == 1
    assert parents(trace) == {
        "POST /agents/execute": "",
        "run": "POST /agents/execute",
        "chat deepseek-chat": "run",
    }
    by_name = {span.name: attributes(span) for span in trace}
    assert by_name["POST /agents/execute"] == {
        "http.request.method": "POST",
        "http.route": "/agents/execute",
        "http.response.status_code": 200,
        "lunaos.request_id": response.headers["X-Request-Id"],
    }
    assert by_name["chat deepseek-chat"] == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "deepseek",
        "gen_ai.request.model": "deepseek-chat",
        "gen_ai.usage.input_tokens": 11,
        "gen_ai.usage.output_tokens": 7,
    }
    (line,) = lines(logs / "web.log", response.headers["X-Request-Id"])
    assert line["trace_id"] == trace[0].trace_id.hex()


def test_a_chain_is_one_trace_across_processes(traced: Api, collector: Receiver, alice: Any, logs: Path) -> None:
    response = traced.execute_chain(alice, "code-review", "documentation")
    run_id = events(response)[0]["runId"]

    assert until(lambda: len(trace_of(collector, run_id)) == 5, 10)
    trace = trace_of(collector, run_id)
    assert len({span.trace_id for span in trace}) == 1
    assert Counter(span.name for span in trace)["chat deepseek-chat"] == 2
    assert parents(trace) == {
        "POST /chains/execute": "",
        "chains.tasks.execute_chain": "POST /chains/execute",
        "run": "chains.tasks.execute_chain",
        "chat deepseek-chat": "run",
    }
    told = [json.loads(line) for line in (logs / "chains.log").read_text().split("\n") if line.startswith("{")]
    mine = [line for line in told if line.get("request_id") == response.headers["X-Request-Id"]]
    assert mine and {line.get("trace_id") for line in mine} <= {trace[0].trace_id.hex()}


def test_a_failure_is_a_code_and_has_the_run_on_its_lines(
    traced: Api, collector: Receiver, alice: Any, upstream: Upstream
) -> None:
    upstream.respond_with(Answer(status=500, body=json.dumps({"error": PLANTED}).encode()))
    response = traced.execute(alice, context=PLANTED)
    assert response.status_code == 502
    run_id = response.headers["X-Run-Id"]
    assert until(lambda: len(trace_of(collector, run_id)) == 4, 10)  # it was tried again
    failed = [span for span in trace_of(collector, run_id) if span.name.startswith("chat")]
    assert {attributes(span)["error.type"] for span in failed} == {"provider_error"}
    assert {span.status.code for span in failed} == {2} and {span.status.message for span in failed} == {""}


def test_spans_hold_no_text_of_users(traced: Api, collector: Receiver, alice: Any, upstream: Upstream) -> None:
    headers = {**traced.as_(alice), "User-Agent": PLANTED, "traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"}
    traced.post("/agents/execute", json={"agent": PLANTED, "context": PLANTED}, headers=headers)
    traced.get(f"/runs/{PLANTED}?key={PLANTED}", headers=headers)
    body = {"agent": "code-review", "context": PLANTED}
    traced.post(f"/agents/execute?key={PLANTED}", json=body, headers=headers)  # refused: an unknown parameter
    response = traced.post("/agents/execute", json=body, headers=headers)
    run_id = events(response)[0]["runId"]
    assert until(lambda: len(trace_of(collector, run_id)) == 3, 10)
    told = b"".join(collector.bodies)
    secrets = (PLANTED, alice.email, traced.as_(alice)["Authorization"][7:40], "127.0.0.1", "sk-planted", "Hello")
    assert not [secret for secret in secrets if secret.encode() in told]
    assert bytes.fromhex("ab" * 16) not in told  # a client's own trace is not continued
    assert all("traceparent" not in {name.lower() for name in asked} for asked in upstream.headers)


def test_without_a_collector_nothing_is_imported(database: None) -> None:
    """Not by redis either, which would; nor is Sentry's."""
    told = "print(*(name for name, module in sys.modules.items() if module))"
    code = f"import sys, django; django.setup(); import lunaos.asgi; {told}"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), cwd=ROOT, capture_output=True, text=True)
    names = done.stdout.split()
    assert {"redis", "lunaos.infra.observability.tracing"} <= set(names), done.stderr
    heavy = {
        name for name in names if name.startswith(("opentelemetry.", "sentry_sdk", "lunaos.infra.observability.spans"))
    }
    assert heavy <= {"opentelemetry.sdk"}  # an empty package
