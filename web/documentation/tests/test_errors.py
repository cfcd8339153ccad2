"""docs/errors.md has an entry for each code that the API answers, and no other."""

import re

from django.urls import get_resolver

from lunaos.errors import LunaError
from testing.servers import ROOT

ENTRY = re.compile(
    r"^### `(\w+)`\n\n\*\*Status:\*\* (\d{3})\n\n\*\*Meaning:\*\* \S.+\n\n\*\*Cure:\*\* \S.+$", re.MULTILINE
)
HEADING = re.compile(r"^### (.+)$", re.MULTILINE)
TEXT = (ROOT / "docs" / "errors.md").read_text()
DOCUMENTED = {code: int(status) for code, status in ENTRY.findall(TEXT)}


def answered() -> dict[str, set[int]]:
    """Return the statuses of each code, once all modules that answer are imported."""
    get_resolver().url_patterns  # noqa: B018
    found: dict[str, set[int]] = {}
    for kind in LunaError.kinds():
        if ".tests." not in kind.__module__:
            found.setdefault(kind.code, set()).add(kind.status)
    return found


def test_it_works() -> None:
    assert DOCUMENTED["rate_limited"] == 429
    assert len(HEADING.findall(TEXT)) == len(DOCUMENTED), "an entry lacks status, meaning or cure, or is there twice"


def test_every_code_has_an_entry_with_its_status() -> None:
    missing = {code: statuses for code, statuses in answered().items() if DOCUMENTED.get(code) not in statuses}
    assert missing == {}, "add an entry to docs/errors.md for each"


def test_no_entry_is_of_a_code_that_nothing_answers() -> None:
    dead = DOCUMENTED.keys() - answered().keys()
    assert dead == set(), "remove the entry from docs/errors.md"
