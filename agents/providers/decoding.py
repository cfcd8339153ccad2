"""Decoder of streamed chat completions, in all forms that OpenAI-compatible servers send."""

# An invalid value loses that value, not the answer. This decoder reads every answer that `openai`'s client reads.

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from django.conf import settings

from agents.providers import Provider, failures, sse, usage
from agents.providers.contents import (
    Json,
    SurrogateJoiner,
    parse,
    reasoning_of,
    refusal_of,
    replace_lone_surrogates,
    text_of,
)
from agents.providers.errors import ProviderFailed
from agents.providers.reply import Block, Reply
from lunaos.errors import LunaError
from lunaos.infra.observability import metrics
from runs.errors import OutputTooLong

MAX_ANSWER_BYTES = 256 * 2**20  # of a whole answer, framing included
LEADING_BYTES = sse.BOM + b" \t\r\n"
DONE = b"[DONE]"
NO_FINISH_REASON = ("", "null", "none")
# Finish reasons of an answer that the provider aborted: `network_error` is Zhipu's, `abort` that of vLLM and SGLang.
ABORTED_REASONS = frozenset(
    (
        *("error", "failed", "abort", "aborted", "cancelled", "canceled", "timeout", failures.INSUFFICIENT_RESOURCES),
        *("network_error", "server_error", "engine_error", "internal_error"),
    )
)
JSON_START = re.compile(r"[\[{]\s*[\[{\"]")  # the start of JSON, unlike `[PING]`
MAX_REASON_CHARACTERS, MAX_REFUSAL_CHARACTERS = 64, 10_000
TOOL_FIELDS = ("tool_calls", "function_call")
UNCOMMON_FIELDS = frozenset(("base_resp", "x_groq", "type"))  # members of an object that may hold an error
PLAIN_DELTA_FIELDS = frozenset(("content", "role"))  # of a delta
FIRST_CHOICE_INDEXES = (0, "0", None)  # requests ask for one choice


class Decoder:
    """Decodes bytes into `Block`s and buffers incomplete lines and characters."""

    # Headers of the response may state a waiting time.

    def __init__(
        self, provider: Provider, reply: Reply | None = None, headers: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self.reply = reply or Reply()
        self._headers = headers
        self.error: LunaError | None = None  # the error that ended the answer; its text is in the blocks
        self._provider = provider
        self._max_bytes = settings.EVENT_LOG_MAX_BYTES
        self._events: sse.EventParser | None = None  # None until the first byte shows a stream
        self._body = bytearray()  # bytes before the first relevant one, or a JSON body in place of a stream
        self._is_body = False
        self._text_from_deltas = False
        self._blank = ""
        self._read_bytes = 0
        self._surrogates, self._refusal = SurrogateJoiner(), SurrogateJoiner()

    def feed(self, raw: bytes) -> Block:
        """Decode what these bytes complete; never raises."""
        block = Block(self.reply)
        self._read_bytes += len(raw)
        if self._events is None:
            block.alive = True
            raw = self._begin(raw)
        if self._events is not None:
            self._read(self._events.feed(raw), block)
            if self._events.overflowed or self._read_bytes > MAX_ANSWER_BYTES:
                self.error = self.error or OutputTooLong()
        return block

    def _begin(self, raw: bytes) -> bytes:
        # Detect by its first byte whether the answer is a stream; return the bytes to decode.
        start = b"" if self._is_body else raw.lstrip(LEADING_BYTES)[:1]
        self._is_body = self._is_body or (start != b"" and start in b"{[")
        self._body += b"" if self.error else raw
        if start and not self._is_body:
            self._events, raw = sse.EventParser(self._max_bytes), bytes(self._body)
            self._body.clear()
            return raw
        if len(self._body) > self._max_bytes:
            self.error = OutputTooLong()
            self._body.clear()
        return b""

    def close(self) -> Block:
        """Decode the rest after the connection has ended or reading has stopped."""
        block = Block(self.reply)
        if self._events is not None:
            self._read(self._events.close(), block)
        elif not self.error and self._body.strip(LEADING_BYTES):
            self._read_body(block)
        if rest := self._surrogates.close():
            self._add_text(rest, block)
        self.reply.refusal += self._refusal.close()
        return block

    # -- Events --------------------------------------------------------------------------------------------------------

    def _read(self, events: list[sse.SseEvent], block: Block) -> None:
        for event in events:
            if self.error or self.reply.done:
                return
            block.alive = True
            if event.name == sse.COMMENT:
                block.queued = block.queued or not self.reply.has_delta
            elif event.data.lstrip().startswith(DONE):
                self.reply.done = True
            else:
                self._read_event(event, block)

    def _read_event(self, event: sse.SseEvent, block: Block) -> None:
        self.reply.objects += 1
        try:
            found = parse(event.data)
        except ValueError:
            found = event.data.decode(errors="replace").strip()
            if JSON_START.match(found) and event.name not in (sse.ERROR, sse.BARE_JSON):
                error = f"{self._provider.name} sent something that is no chat completion."
                self._fail(ProviderFailed(error, retryable=True))
                return
        if isinstance(found, list) and len(found) == 1:
            [found] = found
        if event.name == sse.ERROR:
            self._fail(failures.error_in_stream(self._provider, found, self._headers))
        elif event.name == sse.BARE_JSON:
            self._read_bare(found)
        elif isinstance(found, dict):
            if text := _plain_chunk_text(found):
                self.reply.has_delta = self._text_from_deltas = True
                self._add_text(self._surrogates.joined(text), block)
            else:
                self._read_object(found, block)
        else:
            self._ignore()
        block.queued = block.queued or (event.name == sse.PING and not self.reply.has_delta)

    def _read_bare(self, found: object) -> None:
        # Read a line without a field name: an error from servers that omit it, or nothing.
        error = failures.find_error(found, []) if isinstance(found, dict) else None
        if error is None:
            self._ignore()
        else:
            self._fail(failures.error_in_stream(self._provider, error, self._headers))

    def _read_body(self, block: Block) -> None:
        # Read a JSON body sent in place of a stream: one object, or a list of chunks.
        self.reply.objects += 1
        try:
            found = parse(bytes(self._body.strip(LEADING_BYTES)).partition(b"\ndata:")[0])
        except ValueError:
            found = None
        for each in found if isinstance(found, list) else [found]:  # Gemini sends errors in a list
            if isinstance(each, dict):
                self._read_object(each, block)
        if self.reply.has_delta and self.reply.finish_reason is None:
            self.reply.finish_reason = "stop"

    def _fail(self, error: LunaError) -> None:
        # End the answer with an error; ignore an error after the finish reason.
        if self.reply.finish_reason is None:
            self.error = error
        else:
            self._ignore()

    def _ignore(self) -> None:
        self.reply.ignored += 1
        metrics.UNKNOWN_EVENTS.labels(self._provider.name).inc()

    # -- Objects -------------------------------------------------------------------------------------------------------

    def _read_object(self, found: Json, block: Block) -> None:
        choices = found.get("choices")
        choices = [each for each in choices if isinstance(each, dict)] if isinstance(choices, list) else []
        was_complete, pieces, reason = self.reply.finish_reason is not None, len(block.texts), None
        if choices:  # some servers count deltas in `index`, so the first choice is the fallback
            first = next((each for each in choices if each.get("index") in FIRST_CHOICE_INDEXES), choices[0])
            reason = self._read_choice(first, block)
        counted = self._count(found, choices)
        if error := failures.find_error(found, choices):
            self._fail(failures.error_in_stream(self._provider, error, self._headers))
        elif reason and reason.partition(":")[0].strip().lower() in ABORTED_REASONS:
            self._fail(failures.incomplete_answer(self._provider, reason))
        elif reason:
            self.reply.finish_reason = self.reply.finish_reason or reason
        elif counted:
            self.reply.usage_after_finish = was_complete and len(block.texts) == pieces
        elif not choices or not any(_has_message(choice) for choice in choices):
            self._ignore()

    def _read_choice(self, choice: Json, block: Block) -> str | None:
        if (delta := self._delta_of(choice)) is not None:
            self._read_delta(delta, block)
        reason = choice.get("finish_reason")
        if not isinstance(reason, str) or reason.strip().lower() in NO_FINISH_REASON:
            return None
        return replace_lone_surrogates(reason.strip()[:MAX_REASON_CHARACTERS])

    def _delta_of(self, choice: Json) -> Json | None:
        # Return the choice's delta, or in its place a message or a text.
        # A message after deltas repeats them, so its text is ignored.
        if isinstance(delta := choice.get("delta"), dict):
            self._text_from_deltas = self._text_from_deltas or bool(delta.get("content"))
            return delta
        if isinstance(message := choice.get("message"), dict):
            return {**message, "content": None} if self._text_from_deltas else message
        return {"content": choice["text"]} if isinstance(choice.get("text"), str) else None

    def _read_delta(self, delta: Json, block: Block) -> None:
        self.reply.has_delta = True
        if content := delta.get("content"):
            self._add_text(self._surrogates.joined(text_of(content)), block)
        if len(delta) == 1 and isinstance(content, str):
            return
        if thought := reasoning_of(delta):
            block.thinking = True
            self.reply.reasoning_bytes += len(thought.encode("utf-8", "replace"))
        if (refusal := refusal_of(delta)) and len(self.reply.refusal) < MAX_REFUSAL_CHARACTERS:
            self.reply.refusal += self._refusal.joined(refusal)
        self.reply.tool_calls = self.reply.tool_calls or any(delta.get(name) for name in TOOL_FIELDS)

    def _add_text(self, text: str, block: Block) -> None:
        # Append text to the block; leading white space waits for other text.
        if not self.reply.has_text:
            text, self._blank = self._blank + text, ""
            if not text.strip():
                self._blank = text
                return
        if text:
            self.reply.has_text = True
            block.texts.append(text)

    def _count(self, found: Json, choices: list[Json]) -> bool:
        # Add reported tokens; return whether a count above zero was reported.
        groq = found.get("x_groq")
        places = (*choices, groq if isinstance(groq, dict) else {}, found)  # Moonshot reports them in the choice
        reports = [usage.parse_usage(place["usage"]) for place in places if place.get("usage")]
        for report in reports:
            self.reply.counts.update(report)
        return any(report.input or report.output for report in reports)


def _plain_chunk_text(found: Json) -> str:
    # Return the text of a chunk that holds text alone, as nearly all do; else "".
    # The full decoding costs four times as much.
    choices = found.get("choices")
    if type(choices) is not list or len(choices) != 1 or not UNCOMMON_FIELDS.isdisjoint(found):
        return ""
    choice = choices[0]
    if type(choice) is not dict or found.get("usage") or found.get("error") or found.get("object") == "error":
        return ""
    if choice.get("finish_reason") or choice.get("error") or choice.get("usage"):
        return ""
    delta = choice.get("delta")
    if type(delta) is not dict or not delta.keys() <= PLAIN_DELTA_FIELDS:
        return ""
    return text if type(text := delta.get("content")) is str else ""


def _has_message(choice: Json) -> bool:
    return any(isinstance(choice.get(name), kind) for name, kind in (("delta", dict), ("message", dict), ("text", str)))
