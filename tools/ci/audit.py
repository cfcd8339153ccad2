"""`python -m tools.ci.audit [options of pip-audit]`: find known vulnerabilities.

A finding fails `make lint`. An unreachable database does not fail, but prints NOT AUDITED.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from testing.servers import ROOT

FILES = (
    "requirements.txt",
    "requirements/dev.txt",
    "requirements/ci.txt",
    "requirements/embedded.txt",
    "requirements/weights.txt",
)
# Findings that do not concern us, by id, each with its reason. They are printed too.
IGNORED: dict[str, str] = {}
# Errors of pip-audit when the database is unreachable; all other errors fail the audit.
UNREACHABLE = ("ConnectionError", "ServiceError", "Timeout")


def main(options: Sequence[str]) -> int:
    """Print the findings; return 1 if a package is vulnerable or a file unreadable."""
    files = [word for file in FILES for word in ("-r", file)]
    command = [sys.executable, "-m", "pip_audit", *files, "--disable-pip", "--no-deps", "-f", "json"]
    done = subprocess.run([*command, "--progress-spinner", "off", *options], cwd=ROOT, capture_output=True, text=True)
    report = _report(done.stdout)
    if report is None:
        return _failed(done.stderr)
    return judge(report["dependencies"])


def judge(dependencies: list[dict[str, Any]]) -> int:
    """Print the findings of pip-audit, and return the exit code."""
    skipped = [each["name"] for each in dependencies if "skip_reason" in each]
    found = [(each, fault) for each in dependencies for fault in each.get("vulns", ())]
    not_ignored = [(each, fault) for each, fault in found if fault["id"] not in IGNORED]
    for each, fault in found:
        ignored = f" (ignored: {IGNORED[fault['id']]})" if fault["id"] in IGNORED else ""
        fixed = ", ".join(fault["fix_versions"]) or "no version yet"
        _say(f"{each['name']} {each['version']}: {fault['id']}, fixed in {fixed}{ignored}")
    # The database may answer for no package at all: that is no proof of safety.
    if skipped and len(skipped) == len(dependencies):
        _say(f"NOT AUDITED: the database of vulnerabilities returned nothing; {len(skipped)} packages are unchecked.")
    elif skipped:
        _say(f"NOT AUDITED: {len(skipped)} of {len(dependencies)} packages: {', '.join(skipped)}.")
    else:
        _say(f"{len(dependencies)} packages audited, {len(not_ignored)} vulnerabilities.")
    return 1 if not_ignored else 0


def _report(output: str) -> dict[str, Any] | None:
    try:
        return dict(json.loads(output))
    except ValueError:
        return None


def _failed(stderr: str) -> int:
    last = stderr.strip().rsplit("\n", 1)[-1]
    if any(name in stderr for name in UNREACHABLE):
        _say(f"NOT AUDITED: the database of vulnerabilities cannot be reached; no package was checked ({last[:120]}).")
        return 0
    _say(f"The requirements cannot be audited: {last}")
    return 1


def _say(line: str) -> None:
    sys.stdout.write(f"pip-audit: {line}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
