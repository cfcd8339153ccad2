from types import MappingProxyType

from lunaos.errors import LunaError


class RunInterrupted(LunaError):
    code, status, message = (
        "interrupted",
        500,
        "The process that executed the run has stopped. The output so far is kept.",
    )


class RunCancelled(LunaError):
    code, status, message = "run_cancelled", 409, "The run was cancelled. Its output so far is kept."
    members = MappingProxyType({"runId": "0b1f4e0a-5b0e-4d7c-9a3e-2f6f0c1d8e55", "output": "The first lines"})


class OutputTooLong(LunaError):
    code, status, message = (
        "output_too_long",
        502,
        "The answer exceeds the maximum size of a run. Ask for a shorter answer.",
    )


class RunNotResumable(LunaError):
    code, status, message = "run_not_resumable", 409, "Only a chain that failed can be resumed."


class ConcurrencyLimitReached(LunaError):
    code, status, message = (
        "concurrency_limit_reached",
        429,
        "Your tier's limit of runs at once is reached. Wait for a run to end, or cancel one.",
    )
    is_refusal = True
    members = MappingProxyType(
        {
            "limit": 2,
            "running": ["0b1f4e0a-5b0e-4d7c-9a3e-2f6f0c1d8e55", "7c9d1c52-1f0b-4a53-8e1c-6a3c0b7f9d10"],
            "tier": "free",
            "upgradeUrl": "https://lunaos.example/pricing?tier=pro",
        }
    )


class EventsExpired(LunaError):
    code, status, message = "events_expired", 410, "The events of this run are no longer kept."


class SpendLimitReached(LunaError):
    # No amount: clients do not see the budget.
    code, status, message = (
        "spend_limit_reached",
        503,
        "This server's budget for free runs is used up for today. Use your own provider key "
        "(PUT /providers/{name}/key), upgrade your plan, or come back tomorrow (UTC).",
    )
    is_refusal = True
    members = MappingProxyType({"upgradeUrl": "https://lunaos.example/pricing?tier=pro"})
