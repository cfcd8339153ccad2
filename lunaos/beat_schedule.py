"""The schedule of periodic tasks. To add a job, add an entry with the task's name."""

from typing import Any

from celery.schedules import crontab

# `expires` drops messages that a worker did not take in time.
SCHEDULE: dict[str, dict[str, Any]] = {
    "recover-chains": {"task": "chains.tasks.recover_chains", "schedule": 5.0, "options": {"expires": 60}},
    "recover-index-jobs": {"task": "rag.tasks.recover_jobs", "schedule": 10.0, "options": {"expires": 60}},
    "end-abandoned-runs": {"task": "runs.tasks.end_abandoned_runs", "schedule": 5.0, "options": {"expires": 60}},
    "count-runs": {"task": "runs.tasks.count_runs", "schedule": 60.0, "options": {"expires": 60}},
    "watch-spending": {"task": "runs.tasks.watch_spending", "schedule": 60.0, "options": {"expires": 60}},
    "measure-event-log": {"task": "web.tasks.measure_event_log", "schedule": 60.0, "options": {"expires": 60}},
    "note-backlogs": {"task": "web.tasks.note_backlogs", "schedule": 60.0, "options": {"expires": 60}},
    "keep-partitions": {"task": "runs.tasks.keep_partitions", "schedule": crontab(hour=3, minute=7)},
    "keep-refusal-partitions": {"task": "refusals.tasks.keep_partitions", "schedule": crontab(hour=3, minute=17)},
    "delete-expired-idempotency-keys": {
        "task": "accounts.tasks.delete_expired_idempotency_keys",
        "schedule": crontab(minute=17),
    },
    "note-audit-head": {"task": "web.tasks.note_audit_head", "schedule": crontab(hour=0, minute=1)},
    "summarise-audit": {"task": "web.tasks.summarise_audit", "schedule": 20.0, "options": {"expires": 60}},
    "forget-expired": {"task": "web.tasks.forget_expired", "schedule": crontab(minute=37)},
    "finish-erasures": {"task": "web.tasks.finish_erasures", "schedule": 60.0, "options": {"expires": 60}},
    "settle-due": {"task": "billing.beat.settle_due", "schedule": 60.0, "options": {"expires": 60}},
    "reconcile-billing": {"task": "billing.beat.reconcile", "schedule": crontab(minute=41)},
    "forget-webhook-events": {"task": "billing.beat.forget_events", "schedule": crontab(hour=3, minute=27)},
    "reach-providers": {"task": "web.tasks.reach_providers", "schedule": 10.0, "options": {"expires": 10}},
    "worker-heartbeat": {"task": "web.tasks.worker_heartbeat", "schedule": 10.0, "options": {"expires": 10}},
}
