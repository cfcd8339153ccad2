"""What can go wrong before an agent runs."""

from lunaos.errors import LunaError


class UnknownAgent(LunaError):
    code, status, message = "unknown_agent", 404, "There is no such agent."


class ChangedMeanwhile(LunaError):
    """Somebody else has changed it since it was read; `latest` is the number of the version that is there now."""

    code, status, message = "changed_meanwhile", 409, "Somebody else has changed this meanwhile."
