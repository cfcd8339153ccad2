"""Redaction of keys, account ids and hosts in providers' error texts."""

import re

MAX_READ_CHARACTERS = 2_048  # all patterns below are linear; this is a second bound
MARGIN_CHARACTERS = 256  # removed from a shortened text: a secret cut at the edge may not be recognised
MAX_SHOWN_CHARACTERS = 300

LABEL = r"[a-z0-9](?:[a-z0-9\-]{0,62})"  # of a host name
TLDS = (  # two labels with one of these are a host, not a file or a parameter
    "com|net|org|io|ai|dev|app|cloud|internal|local|localdomain|lan|corp|svc|cluster|example|test|invalid|arpa"
    "|cn|eu|de|uk|us|co|fr|jp|info|biz|xyz|tech|run|site"
)

# The order matters: an address contains a host, a host may contain an account id.
PATTERNS = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"(?i)\b[a-z][a-z0-9+.-]{1,15}://\S{1,2048}", "[url]"),
        (
            r"(?i)\b((?:api|access|secret)?[-_ ]?(?:key|token|secret|password|passwd|authorization)(?: provided)?)"
            r"['\"]?\s?[:=]\s?['\"]?(?!\d{1,9}\b)(?:(?:basic|bearer)\s)?[^\s,;]{0,512}[\w*/+=]",
            r"\1: [key]",
        ),
        (r"(?i)\bbearer:?\s{1,4}\S{1,512}", "[key]"),
        (r"(?i)\b(?:sk|pk|rk|gsk|xai|hf|nvapi|pplx|lnos)[-_][\w*.\-]{2,512}[\w*]", "[key]"),
        (r"(?i)\b(?:key|api|token)[-_](?=[\w*.\-]{0,512}\d)[\w*.\-]{2,512}[\w*]", "[key]"),
        (r"\b(?:AIza|AKIA|ASIA)[\w\-]{3,512}", "[key]"),
        (r"[\w*]{1,64}\*{3,}[\w*]{0,64}", "[key]"),  # masked keys such as sk-ab***wxyz
        (r"(?i)\borg[-_](?!wide\b|level\b|specific\b)[\w\-]{2,128}", "[account]"),
        (r"\b(?i:acct|user|usr|cus|team|ws)[-_](?=\w{0,64}[\dA-Z])[\w\-]{2,128}", "[account]"),
        (r"\bproj(?:ect)?_[\w\-]{2,128}", "[account]"),
        (r"\b[\w.+\-]{1,64}@[\w.\-]{1,255}", "[address]"),
        (r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?\b", "[host]"),
        (r"(?i)\[?(?<![\w:])(?:[0-9a-f]{0,4}:){3,7}[0-9a-f]{0,4}\]?(?::\d{1,5})?", "[host]"),
        (r"(?i)(?<![\w:])(?:[0-9a-f]{1,4})?::[0-9a-f]{1,4}(?![\w:])", "[host]"),
        (r"(?i)\blocalhost(?::\d{1,5})?\b", "[host]"),
        (r"(?<!\w)[A-Za-z]:\\[^\s'\"]{1,512}", "[path]"),
        (r"\\\\[\w.$\-]{1,128}\\[^\s'\"]{1,512}", "[path]"),
        (r"(?<![\w/<])~?/[A-Za-z.][\w.@+\-]{0,128}(?:/[\w.@+\-]{1,128}){0,64}/?", "[path]"),
        (rf"(?i)\b(?:{LABEL}\.){{1,8}}(?:{TLDS})(?::\d{{1,5}})?\b", "[host]"),
        (rf"(?i)\b(?:{LABEL}\.){{2,8}}[a-z]{{2,24}}(?::\d{{1,5}})?\b", "[host]"),
        (rf"(?i)\b(?=[a-z]){LABEL}(?:\.{LABEL}){{0,8}}:\d{{2,5}}\b", "[host]"),
        (r"(?i)\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "[id]"),
        (r"\b(?=\w{0,512}\d)(?=\w{0,512}[A-Za-z])\w{24,512}", "[id]"),
    )
)


def redact(text: str) -> str:
    """Return at most MAX_SHOWN_CHARACTERS on one line, without keys, accounts, addresses, hosts and paths."""
    read = text[:MAX_READ_CHARACTERS]
    for pattern, replacement in PATTERNS:
        read = pattern.sub(replacement, read)
    if len(text) > MAX_READ_CHARACTERS:
        read = read[:-MARGIN_CHARACTERS]
    line = " ".join("".join(c if c.isprintable() else " " for c in read).split())
    return line if len(line) <= MAX_SHOWN_CHARACTERS else line[: MAX_SHOWN_CHARACTERS - 1] + "…"
