"""Events of a stream as JSON lines: writing a line, and reading its type."""

from typing import Any

import orjson

# The types decide whether a run has ended and whether it is billed, so every module writes and reads lines here.
TERMINAL = frozenset({"done", "chain_done", "cancelled", "error"})  # no event follows one of these types

_HEAD = b'{"type":"'
_HEAD_LENGTH = len(_HEAD)


def encode(event: dict[str, Any]) -> bytes:
    """Return an event as one JSON line; its first member has to be `type`."""
    encoded = orjson.dumps(event)
    if encoded[:_HEAD_LENGTH] != _HEAD:  # `type_of` would have to parse each of these lines
        raise ValueError(f"The first member of an event has to be its type, as a string: {list(event)}.")
    # orjson returns bytes in a buffer of 4 KB, and a run keeps many lines: copy to a buffer of the line's size
    return memoryview(encoded).tobytes()


def type_of(line: bytes) -> str:
    """Return the type of an event line; empty for JSON without a type."""
    if line[:_HEAD_LENGTH] == _HEAD:
        return line[_HEAD_LENGTH : line.index(b'"', _HEAD_LENGTH)].decode()
    # Another order of members, as of a foreign writer: parsed, so that a run never ends unnoticed.
    event = orjson.loads(line)
    return str(event.get("type", "")) if isinstance(event, dict) else ""
