"""`python -m tools.ci.audit [options of pip-audit]`: known vulnerabilities of all that requirements files pin.

Part of `make lint`. A finding fails it. A database that cannot be reached does not, but is said loudly: nobody is to
take silence for safety.
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
# Findings that do not concern us, by their id, each with the reason why. They are printed all the same.
IGNORED: dict[str, str] = {}
# How pip-audit ends where the database is away; whatever else it stumbles over is a fault of ours.
UNREACHABLE = ("ConnectionError", "ServiceError", "Timeout")


def main(options: Sequence[str]) -> int:
    """Audit, print what was found, and return the exit code: 0 unless something is vulnerable or cannot be read."""
    dependencies: dict[str, dict[str, Any]] = {}
    for file in FILES:
        command = [sys.executable, "-m", "pip_audit", "-r", file, "--disable-pip", "--no-deps", "-f", "json"]
        done = subprocess.run(
            [*command, "--progress-spinner", "off", *options], cwd=ROOT, capture_output=True, text=True
        )
        report = _report(done.stdout)
        if report is None:
            return _failed(file, done.stderr)
        dependencies |= {each["name"]: each for each in report["dependencies"]}
    return judge(list(dependencies.values()))


def judge(dependencies: list[dict[str, Any]]) -> int:
    """Print what pip-audit says of each package, and return the exit code."""
    skipped = [each["name"] for each in dependencies if "skip_reason" in each]
    found = [(each, fault) for each in dependencies for fault in each.get("vulns", ())]
    open_ = [(each, fault) for each, fault in found if fault["id"] not in IGNORED]
    for each, fault in found:
        ignored = f" (ignored: {IGNORED[fault['id']]})" if fault["id"] in IGNORED else ""
        repaired = ", ".join(fault["fix_versions"]) or "no version yet"
        _say(f"{each['name']} {each['version']}: {fault['id']}, repaired in {repaired}{ignored}")
    if skipped and len(skipped) == len(dependencies):
        _say(
            f"NOT AUDITED: the database of vulnerabilities knew or answered nothing; {len(skipped)} packages unchecked."
        )
    elif skipped:
        _say(f"NOT AUDITED: {len(skipped)} of {len(dependencies)} packages: {', '.join(skipped)}.")
    else:
        _say(f"{len(dependencies)} packages audited, {len(open_)} vulnerabilities.")
    return 1 if open_ else 0


def _report(output: str) -> dict[str, Any] | None:
    try:
        return dict(json.loads(output))
    except ValueError:
        return None


def _failed(file: str, stderr: str) -> int:
    last = stderr.strip().rsplit("\n", 1)[-1]
    if any(name in stderr for name in UNREACHABLE):
        _say(f"NOT AUDITED: the database of vulnerabilities cannot be reached; nothing was checked ({last[:120]}).")
        return 0
    _say(f"{file} cannot be audited: {last}")
    return 1


def _say(line: str) -> None:
    sys.stdout.write(f"pip-audit: {line}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
