"""Text and reasoning in the forms in which providers send them."""

from __future__ import annotations

import json
from typing import Any

import orjson

Json = dict[str, Any]  # a parsed object

MAX_NESTED_PARTS = 3
REASONING_FIELDS = ("reasoning_content", "reasoning", "thinking")  # DeepSeek's, OpenRouter's, and others'
REASONING_TYPES = ("thinking", "reasoning", "redacted_thinking")  # of parts, as in Mistral's answers


def parse(data: bytes) -> Any:
    """Parse JSON with NaN, lone surrogates, control characters or invalid UTF-8; raise ValueError for no JSON."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(data.decode(errors="replace"), strict=False)
    except RecursionError as e:
        raise ValueError("nested too deeply") from e


def text_of(content: object) -> str:
    """Return the text of a `content`: a string, a part with `text`, or a list of parts."""
    return _join_parts(content, thinking=False, depth=0)


def reasoning_of(delta: Json) -> str:
    named = next((text for name in REASONING_FIELDS if (text := text_of(delta.get(name)))), "")
    return named or _join_parts(delta.get("content"), thinking=True, depth=0)


def refusal_of(delta: Json) -> str:
    """Return a delta's refusal: its member `refusal`, or parts of that type."""
    content, refusal = delta.get("content"), delta.get("refusal")
    parts = [part.get("refusal") for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    return "".join(piece for piece in (refusal, *parts) if isinstance(piece, str))


def replace_lone_surrogates(text: str) -> str:
    """Return a text that can be encoded: lone surrogates become U+FFFD."""
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _join_parts(content: object, *, thinking: bool, depth: int) -> str:
    # Join the text of the parts that are reasoning, or of those that are not.
    if isinstance(content, str):
        return "" if thinking else content
    if isinstance(content, list) and depth < MAX_NESTED_PARTS:
        return "".join(_join_parts(part, thinking=thinking, depth=depth + 1) for part in content)
    if not isinstance(content, dict):
        return ""
    if content.get("type") in REASONING_TYPES:
        return text_of(content.get("thinking") or content.get("text")) if thinking else ""
    return "" if thinking else _join_parts(content.get("text"), thinking=False, depth=depth + 1)


class SurrogateJoiner:
    """Joins surrogate pairs that two deltas split; a lone surrogate becomes U+FFFD."""

    def __init__(self) -> None:
        self._high = ""

    def joined(self, text: str) -> str:
        # A high surrogate at its end waits for the next text.
        if text.isascii() and not self._high:
            return text
        text = self._high + text
        self._high = text[-1] if "\ud800" <= text[-1:] <= "\udbff" else ""
        return replace_lone_surrogates(text.removesuffix(self._high) if self._high else text)

    def close(self) -> str:
        """Return the surrogate that still waits, as U+FFFD."""
        rest, self._high = self._high, ""
        return replace_lone_surrogates(rest)
