"""`python -S health.py [SECONDS]`: is the process of this container well? The exit code says it.

A web process answers /ready; it is unwell while it lacks what it needs. A worker touches its sign of life as long as it
takes messages, and beat writes its schedule every three minutes: unwell is who has not for SECONDS (60; beat 600).
Starts nothing of the platform, since it is called every few seconds.
"""

import os
import sys
import time
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

SILENT_AFTER_S = {"beat": 600.0}


def main(words: list[str]) -> None:
    """Exit with 0 when the process is well, else with the reason."""
    sign = Path(os.environ.get("LUNAOS_SIGN_OF_LIFE") or sys.exit("LUNAOS_SIGN_OF_LIFE is not set"))
    role = sign.read_text() if sign.exists() else sys.exit("nothing was started here")
    if role == "web":
        ask(f"http://127.0.0.1:{os.environ.get('PORT') or 8000}/ready")
        return
    schedules = Path(os.environ.get("LUNAOS_HOME", "")).glob("beat-schedule*") if role == "beat" else ()
    silent_s = time.time() - max(file.stat().st_mtime for file in (sign, *schedules))
    if silent_s > float(words[0] if words else SILENT_AFTER_S.get(role, 60.0)):
        sys.exit(f"{role} gave no sign of life for {silent_s:.0f} s")


def ask(url: str) -> None:
    """A redirect, an error, or no answer in time is as bad as no process."""
    try:
        with urlopen(url, timeout=4):  # noqa: S310 - our own loopback address
            pass
    except (OSError, HTTPException, ValueError) as e:  # a PORT that is no number is one of the last two
        sys.exit(f"{url}: {e}")


if __name__ == "__main__":
    main(sys.argv[1:])
