"""Parser of server-sent events (WHATWG HTML 9.2.6), in linear time and bounded memory."""

from __future__ import annotations

import re
from itertools import takewhile
from typing import NamedTuple

import orjson

BOM = b"\xef\xbb\xbf"
COMMENT, ERROR, PING, BARE_JSON = b":", b"error", b"ping", b"{"
ERRORS = (ERROR, b"exception")
_LINE_END = re.compile(rb"\r\n|\n|\r")


class SseEvent(NamedTuple):  # a dataclass takes three times as long to create
    """One event, or a comment."""

    # `name` is the `event` field in lower case, COMMENT, BARE_JSON for a line of JSON without a field name, or ERROR
    # for all names of errors. `data` are the `data` lines joined by LF, or the comment's text.

    name: bytes
    data: bytes


class LineSplitter:
    """Splits bytes at LF, CRLF or CR."""

    # A longer line than `max_line_bytes` sets `overflowed` and ends it.

    def __init__(self, max_line_bytes: int) -> None:
        self.overflowed = False
        self._max_line_bytes = max_line_bytes
        self._held = bytearray()  # the incomplete line; it grows in place, so a long line costs linear time
        self._after_cr = False
        self._first = True

    def feed(self, raw: bytes) -> list[bytes]:
        """Return the lines that these bytes complete, without line ends."""
        if not raw or self.overflowed:
            return []
        if self._after_cr and raw.startswith(b"\n"):  # the LF of a CRLF split over two reads
            raw = raw[1:]
        self._after_cr = raw.endswith(b"\r")
        lines = _LINE_END.split(raw) if b"\r" in raw else raw.split(b"\n")
        rest = lines.pop()
        if lines:
            lines[0] = self._completed(lines[0])
        self._held += rest
        return self._bounded(lines) if len(self._held) + len(raw) > self._max_line_bytes else lines

    def close(self) -> list[bytes]:
        """Return the last line, which may lack its line end."""
        return [self._completed(b"")] if self._held else []

    def _completed(self, end: bytes) -> bytes:
        if self._held:
            end = bytes(self._held) + end
            self._held.clear()
        if self._first:
            self._first = False
            end = end.removeprefix(BOM)
        return end

    def _bounded(self, lines: list[bytes]) -> list[bytes]:
        fitting = list(takewhile(lambda line: len(line) <= self._max_line_bytes, lines))
        self.overflowed = len(fitting) < len(lines) or len(self._held) > self._max_line_bytes
        if self.overflowed:
            self._held.clear()
        return fitting


class EventParser:
    """Parses events as leniently as servers in the field require."""

    # Beyond the standard: an event at the end of the connection counts without its blank line; a whole JSON object on
    # a `data` line is an event where another `data` line follows (servers that send one newline for two); a field
    # `error` (llama.cpp) is an event of that name, and so is a line of JSON without a field's name. More than
    # `max_bytes` in a line or an event set `overflowed` and end the parsing.

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lines = LineSplitter(max_bytes)
        self._name = b""
        self._data: list[bytes] = []
        self._size = 0

    @property
    def overflowed(self) -> bool:
        """Return whether a line or an event exceeded `max_bytes`."""
        return self._lines.overflowed or self._size > self._max_bytes

    def feed(self, raw: bytes) -> list[SseEvent]:
        return self._events(self._lines.feed(raw))

    def close(self) -> list[SseEvent]:
        """Return the event that the end of the connection completes, if any."""
        return [] if self.overflowed else self._events([*self._lines.close(), b""])

    def _events(self, lines: list[bytes]) -> list[SseEvent]:
        events: list[SseEvent] = []
        for line in lines:
            if not line:
                self._complete(events)
            elif line.startswith(b"data:"):
                self._add(line[6:] if line.startswith(b"data: ") else line[5:], events)
            else:
                self._read_field(line, events)
        return events

    def _add(self, value: bytes, events: list[SseEvent]) -> None:
        if len(self._data) == 1 and _is_object(self._data[0]):
            self._complete(events)
        self._data.append(value)
        self._size += len(value) + 1

    def _complete(self, events: list[SseEvent]) -> None:
        if self._data and self._size <= self._max_bytes:
            events.append(SseEvent(self._name, b"\n".join(self._data) if len(self._data) > 1 else self._data[0]))
            self._data, self._size = [], 0
        elif self._name == ERROR:  # without data
            events.append(SseEvent(ERROR, b""))
        self._name = b""

    def _read_field(self, line: bytes, events: list[SseEvent]) -> None:
        name, _, value = line.partition(b":")
        if not name:
            events.append(SseEvent(COMMENT, value))
        elif name == b"event":
            name = value.strip().lower()
            self._name = ERROR if name in ERRORS else name
        elif name == b"data":  # without a colon
            self._add(b"", events)
        elif name == ERROR:
            events.append(SseEvent(ERROR, value))
        elif line.lstrip().startswith(b"{"):
            events.append(SseEvent(BARE_JSON, line))


def _is_object(line: bytes) -> bool:
    if not (line.startswith(b"{") and line.rstrip().endswith(b"}")):
        return False
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True
