"""Schemathesis: generated requests, good and bad; every answer must be one that the document describes."""

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from testing.client import Api
from testing.loopback.upstream import Upstream
from testing.servers import daphne
from testing.stripe import Stripe

pytestmark = pytest.mark.clients

CASES_OF_AN_OPERATION, CASES_AT_LEAST = 50, 2_000
# What no schema can say is refused with a documented 400: a weak password, an unknown model, a made-up cursor.
BEYOND_A_SCHEMA = [positive_data_acceptance]
GENERATED = settings(
    max_examples=CASES_OF_AN_OPERATION,
    deadline=None,  # a chain's answer takes as long as its steps
    suppress_health_check=list(HealthCheck),
    database=None,
    derandomize=True,
    phases=(Phase.generate,),  # a failing case is printed as it is
)
MANY = 1_000_000


@pytest.fixture
def target(
    api: Api, bounds: Any, provider_environment: dict[str, str], tmp_path: Path, stripe: Stripe, chains_worker: Any
) -> Iterator[Api]:
    """Return a server behind a proxy, so that each request can come from another client."""
    bounds("team", requests_per_minute=MANY, executions_at_once=MANY, starts_per_hour=MANY)
    changes = {"LUNAOS_TRUSTED_PROXIES": "1", "LUNAOS_STREAM_HEARTBEAT_S": "0.3", **provider_environment}
    with daphne(tmp_path / "web.log", "/ready", **changes) as url, Api(base_url=url, timeout=60) as client:
        yield client


def describe_events(document: dict[str, Any]) -> dict[str, Any]:
    """Put each event's schema in the place where Schemathesis looks for it, which is OpenAPI 3.2's."""
    for operation in itertools.chain.from_iterable(path.values() for path in document["paths"].values()):
        if stream := operation["responses"].get("200", {}).get("content", {}).get("text/event-stream"):
            data = {"type": "string", "contentMediaType": "application/json", "contentSchema": stream["x-event-schema"]}
            stream["schema"] = {"type": "object", "required": ["data"], "properties": {"data": data}}
    return document


def test_the_server_keeps_to_its_document(target: Api, make_user: Any, upstream: Upstream) -> None:
    schema = schemathesis.openapi.from_dict(describe_events(target.get("/openapi.json").json()))
    schema.config.update(base_url=str(target.base_url))
    statuses: Counter[int] = Counter()
    addresses = (f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}" for n in itertools.count(1))

    for result in schema.get_all_operations():
        operation = result.ok()  # type: ignore[union-attr]
        account = make_user("dora", tier="team")  # thrown away: some operations end its sessions or delete it

        def check(case: Any) -> None:
            account.refresh_from_db()  # noqa: B023 - called within the same turn of the loop
            headers = {**target.as_(account), "X-Forwarded-For": next(addresses)}  # noqa: B023
            response = case.call_and_validate(headers=headers, excluded_checks=BEYOND_A_SCHEMA)
            statuses[response.status_code] += 1

        @GENERATED
        @given(case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE))
        def well_formed(case: Any) -> None:
            check(case)

        @GENERATED
        @given(case=operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))
        def ill_formed(case: Any) -> None:
            # A parameter without a value is not in the URL: well-formed after all.
            assume(all(value not in ([], {}, None) for value in (case.query or {}).values()))
            check(case)

        well_formed()
        if operation.body or operation.query or operation.path_parameters:
            ill_formed()
    assert statuses.total() >= CASES_AT_LEAST and statuses[429] < statuses.total() / 100, statuses
