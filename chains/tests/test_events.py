"""Events that a worker repeats after a takeover: those that the database has and the log lacks."""

from typing import Any

import orjson

from chains.events import missing_events
from runs.models import Run, RunStep

RUN = Run(steps=["code-review", "documentation"])


def step(position: int, output: str) -> RunStep:
    return RunStep(position=position, agent=RUN.steps[position - 1], output=output, duration_ms=1_400,
                   provider="deepseek", model="deepseek-chat")  # fmt: skip


def lines(*events: dict[str, Any]) -> list[bytes]:
    return [orjson.dumps(event) for event in events]


def missing(succeeded: list[RunStep], *stored: dict[str, Any]) -> list[tuple[str, Any]]:
    events = list(missing_events(RUN, succeeded, lines(*stored)))
    return [(event["type"], event.get("content", event.get("step"))) for event in events]


START = {"type": "chain_start", "steps": 2}
STEP_1 = {"type": "step_start", "step": 1}
DONE_1 = {"type": "step_done", "step": 1}


def chunk_event(text: str) -> dict[str, Any]:
    return {"type": "chunk", "content": text}


def test_a_new_chain_begins() -> None:
    assert missing([]) == [("chain_start", None)]


def test_no_event_is_repeated() -> None:
    assert missing([]) == [("chain_start", None)]
    assert missing([], START) == []
    assert missing([step(1, "found")], START, STEP_1, chunk_event("found"), DONE_1) == []
    assert missing([], START, STEP_1, chunk_event("half")) == []


def test_a_worker_died_between_the_step_and_its_last_event() -> None:
    assert missing([step(1, "found")], START, STEP_1, chunk_event("fou"), chunk_event("nd")) == [("step_done", 1)]


def test_the_lost_end_of_an_answer_is_repeated() -> None:
    assert missing([step(1, "found")], START, STEP_1, chunk_event("fo")) == [("chunk", "und"), ("step_done", 1)]


def test_the_log_has_lost_everything() -> None:
    assert missing([step(1, "found"), step(2, "written")]) == [
        *(("chain_start", None), ("step_start", 1), ("chunk", "found"), ("step_done", 1)),
        *(("step_start", 2), ("chunk", "written"), ("step_done", 2)),
    ]


def test_only_the_last_start_of_a_step_counts() -> None:
    stored = (START, STEP_1, chunk_event("first try"), STEP_1, chunk_event("found"))
    assert missing([step(1, "found")], *stored) == [("step_done", 1)]


def test_a_nul_is_not_stored_and_not_missed() -> None:
    assert missing([step(1, "ab")], START, STEP_1, chunk_event("a\0b"), DONE_1) == []


def test_the_lost_opening_is_repeated() -> None:
    """Only the stored opening is repeated, not the events after it of a resumed chain."""
    rag = {"type": "rag", "sources": [{"path": "a\u2028b.py", "startLine": 1, "endLine": 2, "score": 0.5}]}
    kept = "\n".join(orjson.dumps(event).decode() for event in (START, rag, STEP_1, chunk_event("half")))
    assert list(missing_events(RUN, [], [], kept)) == [START, rag]
    assert list(missing_events(RUN, [], lines(START, rag), kept)) == []
    assert [event["type"] for event in missing_events(RUN, [step(1, "found")], [], kept)] == [
        *("chain_start", "rag", "step_start", "chunk", "step_done"),
    ]
