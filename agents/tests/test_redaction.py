"""Redaction of a provider's error text."""

import pytest

from agents.providers.redaction import MAX_READ_CHARACTERS, MAX_SHOWN_CHARACTERS, redact


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Incorrect API key provided: sk-abc***wxyz.", "Incorrect API key provided: [key]."),
        ("key sk-proj-AbCd_1234-xyz is bad", "key [key] is bad"),
        ("header Bearer abc.def was refused", "header [key] was refused"),
        ("gsk_0123456789abcdef failed", "[key] failed"),
        ("Limit for gpt-4o in org-AbC123 on tokens", "Limit for gpt-4o in [account] on tokens"),
        ("project proj_AbC123 is archived", "project [account] is archived"),
        ("contact ops@example.com now", "contact [address] now"),
        ("see https://platform.example.com/account?x=1 for more", "see [url] for more"),
        ("upstream vllm-7.prod.internal:8000 died", "upstream [host] died"),
        ("connect to 10.0.0.5:8000 failed", "connect to [host] failed"),
        ("connect to localhost:8000 failed", "connect to [host] failed"),
        ("connect to [fd00::1:2]:80 failed", "connect to [host] failed"),
        ("in /srv/app/server.py line 3", "in [path] line 3"),
        (r"in C:\models\llama.gguf", "in [path]"),
        ("request 550e8400-e29b-41d4-a716-446655440000 failed", "request [id] failed"),
        ("api_key=12ab34cd56ef78 is bad", "api_key: [key] is bad"),
        ("X-Api-Key: hunter2secret", "X-Api-Key: [key]"),
        ("API key provided: abc123def456", "API key provided: [key]"),
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: [key]"),
        ('{"password": "hunter2"}', '{"password: [key]"}'),
        ("AKIAIOSFODNN7EXAMPLE failed", "[key] failed"),
        ("Org-ABC is over its limit", "[account] is over its limit"),
        ("from ::1 and fe80::1", "from [host] and [host]"),
        (r"in \\server\share\x", "in [path]"),
        ("in /opt now", "in [path] now"),
        ("max tokens: 4096, claude-sonnet-4-20250514, node.js, std::vector, 12:30", None),
        ("user-provided text, org-wide limits", None),
        ("two\nlines\x1b[31m\u202e", "two lines [31m"),
        ("The maximum is 4096 tokens and/or 3.5 MB for model deepseek-chat", None),
        ("This model's maximum context length is 65536 tokens.", None),
        ("messages[0].content must be a string", None),
    ],
)  # fmt: skip
def test_it_works(text: str, shown: str | None) -> None:
    assert redact(text) == (text if shown is None else shown)


def test_a_long_text_is_cut() -> None:
    assert len(redact("word " * 1_000)) == MAX_SHOWN_CHARACTERS


def test_a_secret_at_the_edge_of_what_is_read_is_not_shown() -> None:
    text = "x " * (MAX_READ_CHARACTERS // 2 - 4) + "sk-0123456789"
    assert "sk-" not in redact(text)


@pytest.mark.parametrize(
    "piece", ["a", "a-", "a.", "/a", "@", "sk-", "*", ":", "a:", "\\", "C:\\", "[", "0.", "http://"]
)
def test_a_hostile_text_costs_no_more_than_its_length(piece: str) -> None:
    """The patterns get no more than READ_CHARACTERS, whatever comes; a quadratic one would take seconds at this."""
    assert len(redact(piece * 1_000_000)) <= MAX_SHOWN_CHARACTERS
