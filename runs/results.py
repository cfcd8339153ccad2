"""The result of a run, collected from its events."""

from typing import Any

from lunaos.errors import LunaError
from runs.errors import RunCancelled

MAX_ERROR_OUTPUT_CHARACTERS = 10_000  # of the text in an error, which may not exceed 64 kB


class ResultBuilder:
    """A result that grows with the run's events."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.has_started = False
        # The event that ended the run.
        self.last: dict[str, Any] | None = None
        self._chunks: list[str] = []
        self._steps: list[dict[str, Any]] = []

    def add(self, event: dict[str, Any]) -> None:
        self.has_started = True
        match event["type"]:
            case "chunk":
                self._chunks.append(event["content"])
            case "step_start":
                # Each step answers anew; a resumed step begins again.
                self._chunks = []
            case "step_done":
                facts = {"step": event["step"], "agent": event["agent"], "output": self._output}
                self._steps.append({**facts, "durationMs": _milliseconds(event["duration"])})
            case "done" | "chain_done" | "error" | "cancelled":
                self.last = event

    def build(self, last: dict[str, Any]) -> dict[str, Any]:
        """Return a run's result by its last event, or raise the run's error."""
        if last["type"] in {"error", "cancelled"}:
            raise self._failure(last)
        steps = {"steps": self._steps} if last["type"] == "chain_done" else {}
        return {
            "runId": self.run_id,
            "output": self._output,
            "tokens": last["tokens"],
            "cost": last["cost"],
            "durationMs": _milliseconds(last.get("duration") or last["totalDuration"]),
            "finishReason": last.get("finishReason"),
            **steps,
        }

    @property
    def _output(self) -> str:
        return "".join(self._chunks)

    def _failure(self, last: dict[str, Any]) -> LunaError:
        failed = last["type"] == "error"
        error = (
            LunaError.with_code(last["code"], last["error"], retry_after=last.get("retryAfter"))
            if failed
            else RunCancelled()
        )
        error.extra |= {"runId": self.run_id, "output": self._output[:MAX_ERROR_OUTPUT_CHARACTERS]}
        return error


def _milliseconds(duration: str) -> int:
    return round(float(duration.removesuffix("s")) * 1000)
