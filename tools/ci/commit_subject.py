"""`python -m tools.ci.commit_subject FILE`: check a commit's subject, as a hook."""

import re
import sys
from pathlib import Path

MAX_LENGTH = 72
WRITTEN_BY_GIT = ("Merge ", "Revert ", "fixup! ", "squash! ", "amend! ")
# Imperatives with an ending of NOT_IMPERATIVE.
IMPERATIVES = {
    "bring",
    "embed",
    "exceed",
    "feed",
    "focus",
    "need",
    "proceed",
    "seed",
    "shed",
    "speed",
    "spring",
    "string",
}
NOT_IMPERATIVE = re.compile(r"(?:ed|ing|[^s]s)$")


def faults(subject: str) -> list[str]:
    """Return the faults of a subject; none if git has written it."""
    if subject.startswith(WRITTEN_BY_GIT):
        return []
    return [sentence for sentence, is_wrong in _rules(subject) if is_wrong]


def _rules(subject: str) -> list[tuple[str, bool]]:
    verb = re.split(r"\W", subject, maxsplit=1)[0].lower()
    return [
        ("It is empty.", not subject),
        (f"It has {len(subject)} characters; the limit is {MAX_LENGTH}.", len(subject) > MAX_LENGTH),
        ("It does not begin with a capital letter.", not subject[:1].isupper()),
        ("It ends with a full stop.", subject.endswith(".")),
        (f"'{verb}' is not an imperative.", verb not in IMPERATIVES and bool(NOT_IMPERATIVE.search(verb))),
    ]


def main(file: Path) -> int:
    # Git's own hints, which it removes later.
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    subject = next((line for line in lines if line.strip()), "")
    found = faults(subject)
    sys.stderr.writelines(f"Commit subject {subject!r}: {fault}\n" for fault in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
