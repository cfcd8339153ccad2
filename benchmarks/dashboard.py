"""Benchmark of the admin's dashboard and lists with a million runs.

Fills the database with users and sixty days of runs, counts all of them as a new release would, then what falls due
each minute, and asks for the pages over HTTP, signed in as staff, each several times.

usage: python -m lunaos.embedded run -- python benchmarks/dashboard.py [--runs 1000000] [--users 5000]
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks import processes

TIMES = 9
DAYS = 60
NOW = datetime.now(UTC)
PAGES = {
    "front page": "/",
    "dashboard, 24 hours": "/admin/?range=24h",
    "dashboard, 7 days": "/admin/?range=7d",
    "dashboard, 30 days": "/admin/?range=30d",
    "list of users": "/admin/accounts/user/",
    "list of runs": "/admin/runs/run/",
    "failed runs of a month": f"/admin/runs/run/?status__exact=failed&{NOW:created_at__year=%Y&created_at__month=%m}",
    "runs of one user, found by address": "/admin/runs/run/?q=user-4990@",
    "runs of an address that all share": "/admin/runs/run/?q=example.com",
}
MAKE_USERS = """
    INSERT INTO accounts_user
        (id, password, is_superuser, email, name, tier, is_active, is_staff, created_at, session_epoch)
    SELECT gen_random_uuid(), '!', false, 'user-' || n || '@example.com', 'User ' || n,
        (ARRAY['free', 'free', 'free', 'free', 'pro', 'pro', 'team'])[1 + n %% 7], true, false,
        now() - n * interval '1 hour', 0
    FROM generate_series(1, %(users)s) AS n
"""
# Few users send most requests (the square of a random number), and fewer at night.
MAKE_RUNS = """
    INSERT INTO runs_run (
        id, user_id, agent, chain, steps, provider, model, own_key, status, error_code, input_tokens, output_tokens,
        cost_usd, duration_ms, first_token_ms, charge, charged_month, request_id, created_at, finished_at,
        heartbeat_at, attempt, losses, expires_at
    )
    SELECT gen_random_uuid(), person.id,
        CASE WHEN n %% 20 = 0 THEN '' ELSE agent[1 + floor(power(random(), 2) * cardinality(agent))::int] END,
        CASE WHEN n %% 20 = 0 THEN 'custom' ELSE '' END, '{}',
        (ARRAY['deepseek', 'deepseek', 'openai', 'anthropic'])[1 + floor(random() * 4)::int], 'model',
        random() < 0.05, status, CASE WHEN status = 'failed' THEN 'provider_error' ELSE '' END,
        1000 + floor(random() * 4000)::int, floor(random() * 2000)::int, random() * 0.02, 4000,
        CASE WHEN status = 'failed' THEN NULL ELSE 150 + floor(exp(random() * 7))::int END,
        'settled', date_trunc('month', at, 'UTC')::date, gen_random_uuid(), at, at + interval '4 seconds',
        at, 1, 0, at + interval '90 days'
    FROM (
            SELECT n, 1 + floor(power(random(), 2) * %(users)s)::int AS whose,
                now() - random() * (1 - 0.3 * abs(sin(n)))  * %(days)s * interval '1 day' AS at,
                (ARRAY['succeeded', 'succeeded', 'succeeded', 'succeeded', 'succeeded', 'succeeded', 'succeeded',
                    'succeeded', 'succeeded', 'succeeded', 'succeeded', 'succeeded', 'succeeded', 'succeeded',
                    'cancelled', 'failed'])[1 + floor(random() * 16)::int] AS status
            FROM generate_series(1, %(runs)s) AS n
        ) AS run
        JOIN (
            SELECT row_number() OVER (ORDER BY id) AS number, id FROM accounts_user WHERE email LIKE 'user-%%'
        ) AS person ON person.number = run.whose
        CROSS JOIN (SELECT array_agg(slug) AS agent FROM agents_agent) AS agents
    ORDER BY at
"""


def fill(runs: int, users: int) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(MAKE_USERS, {"users": users})
        # In order of time, as a table grows.
        cursor.execute(MAKE_RUNS, {"runs": runs, "users": users, "days": DAYS})
        cursor.execute("VACUUM ANALYZE")


def timed(name: str, job: Callable[[], Any]) -> Any:
    started = time.perf_counter()
    result = job()
    print(f"| {name} | {time.perf_counter() - started:.2f} |", flush=True)
    return result


def session_of_staff() -> str:
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.sessions.backends.db import SessionStore

    from accounts.models import User

    user = User.objects.create_superuser("benchmark-staff@example.com", "unused and long enough 42")
    # Without the sign-in forms, whose time is not measured.
    session = SessionStore()
    session[SESSION_KEY], session[HASH_SESSION_KEY] = str(user.pk), user.get_session_auth_hash()
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session.create()
    return str(session.session_key)


def measure(port: int, session: str, name: str, path: str) -> None:
    times_ms = []
    for _ in range(TIMES):
        request = Request(f"http://127.0.0.1:{port}{path}", headers={"Cookie": f"sessionid={session}"})
        started = time.perf_counter()
        with urlopen(request) as response:
            page = response.read()
        times_ms.append((time.perf_counter() - started) * 1000)
        if b"login-form" in page:
            raise RuntimeError("The session does not count.")
    print(f"| {name} | {times_ms[0]:.0f} | {sorted(times_ms)[TIMES // 2]:.0f} | {max(times_ms):.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=5000)
    options = parser.parse_args()
    os.environ |= {"LUNAOS_STAFF_SECOND_FACTOR": "false", "LUNAOS_LOG_LEVEL": "WARNING"}
    with processes.provider():
        processes.make_tokens()
        from runs import stats

        print("| | s |\n|---|---|")
        timed(f"filling in {options.runs} runs", lambda: fill(options.runs, options.users))
        hours = timed("counting all of them (`manage.py count_runs`)", stats.count_since)
        timed("counting what is due, each minute", stats.count_changed_hours)
        timed("again", stats.count_changed_hours)
        print(f"\n{hours} hours.\n\n| page | first ms | median ms | longest ms |\n|---|---|---|---|")
        session = session_of_staff()
        with processes.web() as (port, _):
            for name, path in PAGES.items():
                measure(port, session, name, path)


if __name__ == "__main__":
    main()
