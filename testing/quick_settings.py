"""The product's settings with short leases and intervals, for tests that wait for what follows a fault."""

from lunaos import beat_schedule
from lunaos.settings import *

# A lease still outlasts several heartbeats on a busy machine.
HEARTBEAT_S = 1.0
LEASE_S = 4.0
DEAD_EXECUTOR_AFTER_S = 4.0
QUICK = dict.fromkeys(("recover-chains", "recover-index-jobs", "end-abandoned-runs", "worker-heartbeat"), 1.0)
CELERY_BEAT_SCHEDULE = {
    name: {**entry, "schedule": QUICK.get(name, entry["schedule"])} for name, entry in beat_schedule.SCHEDULE.items()
}
