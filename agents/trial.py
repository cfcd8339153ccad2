"""Trial of an unsaved prompt: one streamed answer, stored only as an audit event."""

import asyncio
import time
from collections.abc import Coroutine
from contextlib import aclosing
from typing import Any

from accounts.auditlog import trail
from accounts.auditlog.trail import Action
from accounts.models import User
from agents import catalogue, providers, services
from agents.models import Agent
from agents.providers import Target
from agents.runner import Completion
from lunaos.event_lines import encode
from lunaos.infra import database
from runs import executors, outcomes

MAX_ANSWER_TOKENS = 1024  # of an answer; a model that reasons keeps its own limit
TRIAL_RATE = "10/m"  # per staff member
CODE_SAMPLE = '''def discount(price, percent):
    """Take so many percent off a price."""
    return price - percent / 100


def total(prices, percent=0, seen=[]):
    for price in prices:
        seen.append(discount(price, percent))
    return sum(seen)
'''
PROJECT_SAMPLE = """A small library lends books to members. They search the catalogue, reserve a copy, and are
reminded by mail when it is due. Staff add books by scanning their ISBN. There are 4 000 members and two branches.
What comes first?
"""
HTML_SAMPLE = """<form>
  <div onclick="send()">Sign up</div>
  <input placeholder="E-mail"><img src="logo.png">
  <p style="color: #aaa; font-size: 11px">By signing up you agree to everything.</p>
</form>
"""
SAMPLES_BY_CATEGORY = {
    "planning": PROJECT_SAMPLE,
    "workflow": PROJECT_SAMPLE,
    "frontend": HTML_SAMPLE,
}  # by category; code for all others

_tasks: set["asyncio.Task[None]"] = set()  # keeps references: the event loop holds tasks weakly


def sample_context(category: str) -> str:
    """Return a sample context for agents of a category."""
    return SAMPLES_BY_CATEGORY.get(category, CODE_SAMPLE)


def available_targets() -> dict[str, Target]:
    """Return the enabled targets with a key of the server, by `provider/model`."""
    return {
        f"{provider.name}/{model}": catalogue.target(provider, model)
        for provider in providers.all_providers()
        for model in catalogue.current().models[provider.name]
        if provider.configured
    }


def _start_task(coroutine: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
    task = asyncio.create_task(coroutine)
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
    return task


class Trial:
    """Answer of one trial as events in the form of `/agents/execute`."""

    # There is no fallback to another model. A reader that leaves cancels the answer; the outcome is an audit event.
    # The trial is created on the event loop and starts at once.

    def __init__(self, *, by: User, draft: Agent, context: str, target: Target) -> None:
        draft.max_tokens = min(draft.max_tokens, MAX_ANSWER_TOKENS)
        self._by, self._agent = by, draft.slug
        self._completion = Completion([target], services.build_prompt(draft, context), time.perf_counter())
        self._lines: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._position, self._ended = 0, False
        self._task = _start_task(self._run())

    async def read(self, within_s: float) -> list[tuple[int, bytes]] | None:
        """Return the next events with their positions."""
        # [] after a timeout, None at the end.
        if self._ended:
            return None
        try:
            async with asyncio.timeout(within_s):
                lines = [await self._lines.get()]
        except TimeoutError:
            return []
        while not self._lines.empty():
            lines.append(self._lines.get_nowait())
        self._ended = lines[-1] is None
        events_read = [(self._position + n, line) for n, line in enumerate(filter(None, lines), 1)]
        self._position += len(events_read)
        return events_read or None

    def close(self) -> None:
        self._task.cancel()

    async def _run(self) -> None:
        outcome, has_started = "cancelled", False
        try:
            async with aclosing(self._completion.stream()) as pieces:
                async for events in pieces:
                    self._send(*([] if has_started else [self._start()]), *events)
                    has_started = True
            outcome = "succeeded"
            self._send(self._done())
        except Exception as e:
            error = executors.to_client_error(e)
            outcome = error.code
            self._send(outcomes.error_event(error))
        finally:
            self._lines.put_nowait(None)
            _start_task(database.call(self._record, outcome))  # as its own task: `close` cancels this one

    def _send(self, *events: dict[str, Any]) -> None:
        for event in events:
            self._lines.put_nowait(encode(event))

    def _start(self) -> dict[str, Any]:
        target = self._completion.answering
        return {"type": "start", "agent": self._agent, "model": target.model, "provider": target.provider.name}

    def _done(self) -> dict[str, Any]:
        completion = self._completion
        return {
            "type": "done",
            "tokens": completion.tokens.as_json(),
            **completion.cost.as_json(),
            "duration": f"{completion.elapsed_ms / 1000:.1f}s",
            "finishReason": completion.finish_reason,
        }

    def _record(self, outcome: str) -> None:
        completion, target = self._completion, self._completion.answering
        trail.record_on_commit(
            Action.AGENT_TRIED,
            actor=self._by,
            agent=self._agent,
            provider=target.provider.name,
            model=target.model,
            outcome=outcome,
            input_tokens=completion.tokens.input,
            output_tokens=completion.tokens.output,
            cost_usd=completion.cost.usd,
        )
