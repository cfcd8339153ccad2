"""Rules for files that are not indexed, and the reasons that are listed with their paths."""

from rag.indexing import excerpts, generated, secrets

MAX_CHARACTERS = 500_000  # CONTRACT, section 2
MAX_LINE_LENGTH, MAX_MEAN_LINE_LENGTH = 5_000, 400  # characters; handwritten lines are shorter
MIN_WHITESPACE_SHARE = 0.08  # source has about 20 % white space, minified code 2 %
# Why a file is not indexed, and is listed with its path.
BAD_PATH, BINARY, OVERSIZED, SECRET = "bad_path", "binary", "oversized", "secret"
FORCEABLE = GENERATED, MINIFIED = "generated", "minified"


def skip_reason(path: str, content: str) -> str | None:
    """Return why a file is not indexed; None for a file to index."""
    # Secrets come first: a reason of another kind would tell a client to send the file in another form.
    if secrets.is_secret(path, content):
        return SECRET
    if "\0" in content or _is_undecodable(content):
        return BINARY
    if len(content) > MAX_CHARACTERS:
        return OVERSIZED
    if generated.is_generated(path, content):
        return GENERATED
    if ".min." in path.rsplit("/", 1)[-1] or (_is_minified(content) and not excerpts.is_data(path)):
        return MINIFIED
    return None


def _is_undecodable(content: str) -> bool:
    # Text in another encoding has only a few replacement characters.
    return content.count("\N{REPLACEMENT CHARACTER}") > len(content) / 10


def _is_minified(content: str) -> bool:
    # Minified code has long lines with hardly any white space. Prose on one line has spaces, and data has many lines.
    lines = content.splitlines()
    if not lines or (max(map(len, lines)) <= MAX_LINE_LENGTH and len(content) / len(lines) <= MAX_MEAN_LINE_LENGTH):
        return False
    whitespace = sum(map(content.count, " \t\n"))
    return whitespace < MIN_WHITESPACE_SHARE * len(content)
