"""What can go wrong with a run."""

from types import MappingProxyType

from lunaos.errors import LunaError


class RunInterrupted(LunaError):
    code, status, message = (
        "interrupted",
        500,
        "The process that executed the run has stopped. What it produced is kept.",
    )


class OutputTooLong(LunaError):
    code, status, message = "output_too_long", 502, "The answer is longer than a run may be."


class RunNotResumable(LunaError):
    code, status, message = "run_not_resumable", 409, "Only a chain that failed can be resumed."


class EventsExpired(LunaError):
    code, status, message = "events_expired", 410, "The events of this run are no longer kept."


class SpendLimitReached(LunaError):
    """The day's budget for the server's own provider keys is used up; how large it is concerns the operators alone."""

    code, status, message = (
        "spend_limit_reached",
        503,
        "This server's budget for free runs is used up for today. Use your own provider key "
        "(PUT /providers/{name}/key), upgrade your plan, or come back tomorrow (UTC).",
    )
    members = MappingProxyType({"upgradeUrl": "https://lunaos.example/#plans"})
