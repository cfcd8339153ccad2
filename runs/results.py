"""The result of a run, collected from its events."""

from typing import Any

import orjson

from lunaos.errors import LunaError
from runs.errors import RunCancelled

# Of the texts in an error, which may not exceed 64 kB: what the failed step answered, and all steps before it.
MAX_ERROR_OUTPUT_CHARACTERS, MAX_ERROR_OUTPUT_BYTES, MAX_ERROR_STEPS_BYTES = 10_000, 30_000, 20_000


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
                self._steps.append({**facts, "durationMs": _milliseconds(event)})
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
            "durationMs": _milliseconds(last),
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
        output = _shorten(self._output[:MAX_ERROR_OUTPUT_CHARACTERS], MAX_ERROR_OUTPUT_BYTES)
        error.extra |= {"runId": self.run_id, "output": output}
        if self._steps:  # of a chain: what the steps before the failed one answered
            longest = MAX_ERROR_STEPS_BYTES // len(self._steps)
            error.extra["steps"] = [{**step, "output": _shorten(step["output"], longest)} for step in self._steps]
        return error


def _shorten(text: str, max_bytes: int) -> str:
    """Return the beginning of a text that takes at most so many bytes as JSON."""
    text = text[:max_bytes]
    while len(orjson.dumps(text)) > max_bytes:
        text = text[: len(text) * 3 // 4]
    return text


def _milliseconds(event: dict[str, Any]) -> int:
    for name in ("durationMs", "totalDurationMs"):
        if name in event:
            return int(event[name])
    # Events of earlier releases have tenths of seconds only.
    text: str = event.get("duration") or event["totalDuration"]
    return round(float(text.removesuffix("s")) * 1000)
