"""What can go wrong with a run."""

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
