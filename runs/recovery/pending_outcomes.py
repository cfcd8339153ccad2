"""Outcomes that PostgreSQL could not store, kept in Valkey for a sweep."""

import logging
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

import orjson

from lunaos.infra import event_loop, redis
from lunaos.infra.database import OUTAGES
from lunaos.infra.redis import RedisError
from runs import chain_steps, outcomes, texts
from runs.eventlog import log
from runs.metering.tokens import TokenUsage
from runs.models import Run, Status
from runs.outcomes import Failure, Outcome

KEY = "lunaos:unwritten-outcomes"
logger = logging.getLogger(__name__)


async def store(run_id: UUID, outcome: Outcome, last: bytes) -> None:
    """Store an outcome without its output and events, which the run's log has."""
    # the names of Outcome's and Failure's fields are part of this value, which another release may read
    members = orjson.dumps(replace(outcome, output="", events=""), default=str)
    await redis.async_client().hset(
        KEY, str(run_id), orjson.dumps({"last": last.decode(), "outcome": members.decode()})
    )


async def delete(run_id: UUID) -> None:
    # If this fails the outcome stays; the sweep then finds that the run has ended.
    await redis.async_client().hdel(KEY, str(run_id))


def write_all() -> int:
    """Write all stored outcomes to the database; return how many runs ended.

    Raises:
        OperationalError, InterfaceError, RedisError: a server is away; the outcomes stay stored.
    """
    written = 0
    stored = cast(dict[bytes, bytes], redis.client().hgetall(KEY))
    for name, value in stored.items():
        try:
            written += _write(UUID(name.decode()), orjson.loads(value))
            redis.client().hdel(KEY, name)
        except OUTAGES:
            raise
        except Exception:
            # One that cannot be read must not keep the others from their end.
            logger.exception("The stored end of run %s cannot be written", name)
    return written


def _write(run_id: UUID, stored: dict[str, Any]) -> bool:
    run = Run.objects.filter(pk=run_id).first()
    if run is None:
        return False
    last, outcome = stored["last"].encode(), _parse_outcome(orjson.loads(stored["outcome"]))
    lines = [line for _, line in event_loop.submit(log.read(run.pk)).result()]
    is_logged = lines[-1:] == [last]
    before = lines[:-1] if is_logged else lines
    output = outcomes.sum_steps(chain_steps.load(run))["output"] if run.chain else texts.join_chunks(before)
    ended = outcomes.finish(run, replace(outcome, output=output, events=texts.join_events([*before, last])))
    if ended and not is_logged:
        with suppress(RedisError, OSError):  # readers find it in the database
            event_loop.submit(log.append(log.AppendRequest(run.pk, len(lines), [last], run.attempt))).result()
    return ended


def _parse_outcome(members: dict[str, Any]) -> Outcome:
    failure = members["failure"]
    parsed = {
        "status": Status(members["status"]),
        "failure": Failure(**failure) if failure else None,
        "tokens": TokenUsage(**members["tokens"]),
        "cost_usd": Decimal(members["cost_usd"]),
        "ended_at": datetime.fromisoformat(members["ended_at"]),
        "unfinished": tuple(map(Status, members["unfinished"])),
    }
    return Outcome(**{**members, **parsed})
