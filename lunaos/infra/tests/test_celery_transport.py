"""A broker that refuses writes counts as unreachable: workers reconnect."""

import os
from functools import partial
from pathlib import Path

import pytest
from redis import Redis, ResponseError
from redis._parsers import BaseParser

from lunaos.embedded.servers import until
from lunaos.infra.task_queue.celery_transport import Transport
from testing.stack import Stack

REFUSALS = [
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
    "MISCONF Errors writing to the AOF file: No space left on device",
    "OOM command not allowed when used memory > 'maxmemory'.",
    "READONLY You can't write against a read only replica.",
    "LOADING Redis is loading the dataset in memory",
    "NOREPLICAS Not enough good replicas to write.",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
]


def refusal(reply: str) -> Exception:
    return BaseParser.parse_error(reply)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("reply", REFUSALS)
def test_a_refusal_counts_as_a_lost_connection(reply: str) -> None:
    assert isinstance(refusal(reply), Transport.connection_errors)


def test_a_programming_error_does_not() -> None:
    found = refusal("WRONGTYPE Operation against a key holding the wrong kind of value")
    assert isinstance(found, ResponseError) and not isinstance(found, Transport.connection_errors)


def test_a_worker_outlives_a_broker_that_takes_no_writes(tmp_path: Path) -> None:
    sign = tmp_path / "sign"
    sign.write_text("worker")
    with Stack(tmp_path / "home", "worker", LUNAOS_SIGN_OF_LIFE=str(sign)) as stack:
        valkey = Redis.from_url(stack.environment["REDIS_URL"])
        for name, refusing, before in (("min-replicas-to-write", "1", "0"), ("maxmemory", "1", "0")):
            tries = waits(stack)
            valkey.config_set(name, refusing)
            assert until(partial(notices, stack, valkey, tries), 30), (name, stack.log("worker"))
            valkey.config_set(name, before)
            os.utime(sign, (0, 0))
            assert until(lambda: sign.stat().st_mtime > 0, 30), (name, stack.log("worker"))
        valkey.close()


def notices(stack: Stack, valkey: Redis, tries: int) -> bool:
    """Close the worker's connections; return True once the worker waits."""
    # A worker that only reads would not notice, and a connection closed before it is used is opened again unnoticed.
    valkey.client_kill_filter(_type="normal", skipme=True)
    return waits(stack) > tries


def waits(stack: Stack) -> int:
    """Return how often the worker logged that it waits for the broker."""
    return (stack.home.logs / "worker.log").read_text().count("Trying again in")
