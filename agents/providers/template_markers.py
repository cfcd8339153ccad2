"""Marks of a chat template, such as `<|im_start|>`, which the embedded server takes for the template's own.

It puts messages into the model's template as they are and reads marks in them as the beginning of a turn, so that a
context could speak as the system. Other providers keep content apart from their templates, and get it unchanged.
"""

import re

from agents.providers import LOCAL, Provider

MARKER = re.compile(r"<\|(?=[A-Za-z0-9_]{1,64}\|>)")  # bounded, and nothing before it repeats: linear
ESCAPED = "< |"


def escape_markers(provider: Provider, messages: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return messages in which nothing that a user or a model has written is a mark of the provider's template."""
    if provider.name != LOCAL:
        return messages
    return [
        message if message["role"] == "system" else {**message, "content": MARKER.sub(ESCAPED, message["content"])}
        for message in messages
    ]
