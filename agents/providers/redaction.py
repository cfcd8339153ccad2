"""Removes what identifies an account or a machine from a provider's error text."""

import re

READ_CHARACTERS = 2_048  # of the text; all patterns below are linear, and this bounds them once more
MARGIN_CHARACTERS = 256  # cut off a shortened text again: a secret at the edge may be too short to be recognised
SHOWN_CHARACTERS = 300

# In this order: an address contains a host, a host may contain an account's id.
PATTERNS = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"(?i)\b[a-z][a-z0-9+.-]{1,15}://\S{1,2048}", "[url]"),
        (r"(?i)\bbearer\s{1,4}\S{1,512}", "[key]"),
        (r"(?i)\b(?:sk|pk|rk|gsk|xai|hf|key|api|token|nvapi|pplx|lnos)[-_][\w*.\-]{2,512}[\w*]", "[key]"),
        (r"\bAIza[\w\-]{3,512}", "[key]"),
        (r"[\w*]{1,64}\*{3,}[\w*]{0,64}", "[key]"),  # as providers print keys: sk-ab***wxyz
        (r"\b(?:org|acct|user|usr|cus|team|ws)[-_][\w\-]{2,128}", "[account]"),
        (r"\bproj(?:ect)?_[\w\-]{2,128}", "[account]"),
        (r"\b[\w.+\-]{1,64}@[\w.\-]{1,255}", "[address]"),
        (r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?\b", "[host]"),
        (r"(?i)\[?(?<![\w:])(?:[0-9a-f]{0,4}:){3,7}[0-9a-f]{0,4}\]?(?::\d{1,5})?", "[host]"),
        (r"(?i)\blocalhost(?::\d{1,5})?\b", "[host]"),
        (r"(?<!\w)[A-Za-z]:\\[^\s'\"]{1,512}", "[path]"),
        (r"(?<![\w/])~?(?:/[\w.@+\-]{1,128}){2,64}/?", "[path]"),
        (r"(?i)\b(?:[a-z0-9](?:[a-z0-9\-]{0,62})\.){1,8}[a-z]{2,24}(?::\d{1,5})?\b", "[host]"),
        (r"(?i)\b[a-z0-9\-]{1,63}:\d{2,5}\b", "[host]"),
        (r"\b(?=[\w\-]{0,512}\d)[\w\-]{24,512}", "[id]"),
    )
)


def redacted(text: str) -> str:
    """Return at most SHOWN_CHARACTERS of a text on one line, without keys, account ids, addresses, hosts and paths."""
    read = text[:READ_CHARACTERS]
    for pattern, replacement in PATTERNS:
        read = pattern.sub(replacement, read)
    if len(text) > READ_CHARACTERS:
        read = read[:-MARGIN_CHARACTERS]
    line = " ".join("".join(c if c.isprintable() else " " for c in read).split())
    return line if len(line) <= SHOWN_CHARACTERS else line[: SHOWN_CHARACTERS - 1] + "…"
