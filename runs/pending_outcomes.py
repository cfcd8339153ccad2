"""How runs ended that PostgreSQL could not be told: kept beside the event logs until a sweep writes it down."""

import logging
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

import orjson

from lunaos.infra import event_loop, redis
from lunaos.infra.database import AWAY
from lunaos.infra.redis import RedisError
from runs import outcomes, texts
from runs.eventlog import log
from runs.metering.tokens import TokenUsage
from runs.models import Run, Status
from runs.outcomes import Failure, Outcome

KEY = "lunaos:unwritten-outcomes"
logger = logging.getLogger(__name__)


async def store(run_id: UUID, outcome: Outcome, last: bytes) -> None:
    """Keep how a run ended, without its text, which its log has.

    Args:
        last: the event that says so.

    Raises:
        RedisError: the server cannot be reached, or refuses it.
    """
    members = orjson.dumps(replace(outcome, output="", events=""), default=str)
    await redis.async_client().hset(
        KEY, str(run_id), orjson.dumps({"last": last.decode(), "outcome": members.decode()})
    )


async def delete(run_id: UUID) -> None:
    """Drop what was kept: PostgreSQL has it.

    Raises:
        RedisError: it stays; the sweep finds that the run has ended.
    """
    await redis.async_client().hdel(KEY, str(run_id))


def write_all() -> int:
    """Write down all that is kept, as far as the database takes it.

    Returns:
        How many runs ended with that.

    Raises:
        OperationalError, InterfaceError: the database is away still.
        RedisError: what is kept cannot be read.
    """
    written = 0
    kept = cast(dict[bytes, bytes], redis.client().hgetall(KEY))
    for name, value in kept.items():
        try:
            written += _write(UUID(name.decode()), orjson.loads(value))
            redis.client().hdel(KEY, name)
        except AWAY:
            raise
        except Exception:
            logger.exception("The end of run %s cannot be written down", name)
    return written


def _write(run_id: UUID, kept: dict[str, Any]) -> bool:
    run = Run.objects.filter(pk=run_id).first()
    if run is None:
        return False
    last, outcome = kept["last"].encode(), _parse_outcome(orjson.loads(kept["outcome"]))
    lines = [line for _, line in event_loop.submit(log.read(run.pk)).result()]
    told = lines[-1:] == [last]
    before = lines[:-1] if told else lines
    output = outcomes.sum_steps(texts.load_steps(run))["output"] if run.chain else texts.join_chunks(before)
    ended = outcomes.finish(run, replace(outcome, output=output, events=texts.join_events([*before, last])))
    if ended and not told:
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
