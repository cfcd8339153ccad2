"""Escaping of chat-template markers such as `<|im_start|>` for the embedded server."""

# The embedded server inserts messages into the model's template unescaped, so a marker in a context could start a
# turn of the system. Other providers keep content apart from their templates and get it unchanged.

import re

from agents.providers import LOCAL, Provider

MARKER = re.compile(r"<\|(?=[A-Za-z0-9_]{1,64}\|>)")  # bounded and without backtracking: linear
ESCAPED = "< |"


def escape_markers(provider: Provider, messages: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return messages without markers in the content of users and models."""
    if provider.name != LOCAL:
        return messages
    return [
        message if message["role"] == "system" else {**message, "content": MARKER.sub(ESCAPED, message["content"])}
        for message in messages
    ]
