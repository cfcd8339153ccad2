"""Deadline for the next bytes of a provider's answer."""

import asyncio

from django.conf import settings

from agents.providers.reply import Block

USAGE_WAIT_S = 2.0  # after the finish reason, for the usage


class AnswerDeadline:
    """Moment by which the next bytes must arrive, on the event loop's clock."""

    # The first deadline is LLM_FIRST_TOKEN_TIMEOUT_S. A comment before the answer, as from a provider that queues,
    # extends it by LLM_IDLE_TIMEOUT_S, up to `queue_s` in total. From the first text or reasoning on, each event
    # extends it by LLM_IDLE_TIMEOUT_S.

    def __init__(self, queue_s: float) -> None:
        self._clock = asyncio.get_running_loop().time
        self._queue_end = self._clock() + queue_s
        self.deadline = min(self._clock() + settings.LLM_FIRST_TOKEN_TIMEOUT_S, self._queue_end)
        self._began = self._tail = False

    def renew(self, block: Block) -> None:
        """Extend the deadline by what arrived."""
        now, reply = self._clock(), block.reply
        idle_end = now + settings.LLM_IDLE_TIMEOUT_S
        self._began = self._began or bool(block.texts) or block.thinking
        if reply.complete:
            self.deadline = self.deadline if self._tail else now + USAGE_WAIT_S
            self._tail = True
        elif self._began and block.alive:
            self.deadline = idle_end
        elif block.alive:
            later = max(self.deadline, idle_end)
            self.deadline = later if reply.has_delta else min(later, self._queue_end)
