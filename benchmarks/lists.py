"""Benchmark of the API's lists with 10 000 rows of a user: time and size.

Repositories have three files each; of the keys five are active, and all others revoked. Each list is asked for as a
client does that sends no parameters; the last page of those that have pages is asked for too.

usage: python -m lunaos.embedded run -- python benchmarks/lists.py [--rows 10000] [--times 30]
"""

import argparse
import io
import os
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

sys.path.insert(0, str(Path(__file__).parent.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "lunaos.settings")
import django

django.setup()
import httpx
from django.core.management import call_command
from django.db import connection

from accounts.auditlog import trail
from accounts.auditlog.trail import Action
from accounts.models import User
from accounts.signin import jwt
from apikeys.models import ApiKey
from billing.models import Tier
from rag.models import File, Repository
from runs.models import Run
from testing.servers import daphne

LISTS = (
    *("/rag/repositories", "/runs", "/auth/activity", "/api-keys", "/providers", "/chains", "/agents/list"),
    "/billing/plans",
)
PAGED = {"/rag/repositories": 1_000, "/runs": 100, "/auth/activity": 100}
LANGUAGES = ("python", "rust", "markdown")


def fill(user: User, rows: int) -> None:
    repositories = Repository.objects.bulk_create(
        Repository(user=user, name=f"repository-{n:05}", model="m", bytes=3_000) for n in range(rows)
    )
    File.objects.bulk_create(
        File(repository=each, path=f"a.{language}", digest="d", language=language, chunks=4, bytes=1_000)
        for each in repositories
        for language in LANGUAGES
    )
    now = datetime.now(UTC)
    ApiKey.objects.bulk_create(
        ApiKey(
            user=user, name=f"{n}", prefix=f"lnos_live_{n:08}", digest=uuid4().hex, scopes=[],
            revoked_at=None if n < 5 else now,
        )
        for n in range(rows)
    )  # fmt: skip
    Run.objects.bulk_create(
        Run(
            user=user, agent="code-review", provider="deepseek", model="m", status="succeeded", request_id="r",
            charged_month=now.date().replace(day=1), created_at=now - timedelta(seconds=n), heartbeat_at=now,
            expires_at=now + timedelta(days=90), finished_at=now,
        )
        for n in range(rows)
    )  # fmt: skip
    for n in range(rows):  # one by one: each row holds the hash of the one before
        trail.record_on_commit(Action.RUN_REFUSED, actor=user, subject=user, n=n)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def timed(client: httpx.Client, path: str, times: int) -> tuple[list[float], httpx.Response]:
    took = []
    for _ in range(times):
        started = time.perf_counter()
        response = client.get(path)
        took.append((time.perf_counter() - started) * 1_000)
        response.raise_for_status()
    return sorted(took), response


def last_page(client: httpx.Client, path: str) -> str:
    """Return the URL of the last page of the largest page size."""
    address = f"{path}?limit={PAGED[path]}"
    found = address
    while cursor := client.get(found).raise_for_status().json()["data"]["nextCursor"]:
        found = str(httpx.URL(address).copy_merge_params({"cursor": cursor}))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=30)
    options = parser.parse_args()
    call_command("prepare", verbosity=0, stdout=io.StringIO())
    Tier.objects.filter(name="team").update(requests_per_minute=1_000_000)
    user = User.objects.create_user(f"lists-{os.getpid()}@example.com", "no sign-in", tier="team")
    fill(user, options.rows)
    print(f"{options.rows} rows, {options.times} requests each; ms at the median, the 95th percentile, the slowest; kB")
    with tempfile.TemporaryDirectory() as folder, daphne(Path(folder) / "web.log", "/ready") as url:
        headers = {"Authorization": f"Bearer {jwt.issue(user)}"}
        with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
            for path in LISTS:
                show(path, client, path, options.times)
                if path in PAGED:
                    show(f"{path}, last page", client, last_page(client, path), options.times)


def show(name: str, client: httpx.Client, path: str, times: int) -> None:
    took, response = timed(client, path, times)
    p95 = took[min(len(took) - 1, int(0.95 * len(took)))]
    size = len(response.content) / 1_000
    print(f"{name:32} {statistics.median(took):7.1f} {p95:7.1f} {took[-1]:7.1f} {size:8.1f}", flush=True)


if __name__ == "__main__":
    main()
