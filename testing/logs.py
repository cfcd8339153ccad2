from typing import Any

from lunaos.embedded.servers import until
from lunaos.event_lines import TERMINAL, type_of


def expire_event_log(run_id: Any) -> None:
    """Delete a run's event log, after its last event was written."""
    from lunaos.infra import redis
    from runs.eventlog import log

    def ends() -> bool:
        newest: Any = redis.client().xrevrange(log.channel(run_id), count=1)
        return bool(newest) and type_of(newest[0][1][b"e"].split(b"\n")[-1]) in TERMINAL

    assert until(ends, 5)
    redis.client().delete(log.channel(run_id))
