"""`python -S health.py [SECONDS]`: exit with 0 if the process of this container is healthy.

Unhealthy is a web process whose /ready fails, and a worker or beat SECONDS (60; beat 600) after its last write.
"""

# This file imports nothing of the platform, since it runs every few seconds.
import os
import sys
import time
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

SILENT_AFTER_S = {"beat": 600.0}  # beat writes its schedule every three minutes only


def main(words: list[str]) -> None:
    """Exit with 0 if the process is healthy, else with the reason."""
    sign = Path(os.environ.get("LUNAOS_SIGN_OF_LIFE") or sys.exit("LUNAOS_SIGN_OF_LIFE is not set"))
    role = sign.read_text() if sign.exists() else sys.exit("no process was started here")
    if role == "web":
        ask(f"http://127.0.0.1:{os.environ.get('PORT') or 8000}/ready")
        return
    schedules = Path(os.environ.get("LUNAOS_HOME", "")).glob("beat-schedule*") if role == "beat" else ()
    silent_s = time.time() - max(file.stat().st_mtime for file in (sign, *schedules))
    if silent_s > float(words[0] if words else SILENT_AFTER_S.get(role, 60.0)):
        sys.exit(f"{role} has not written its heartbeat file for {silent_s:.0f} s")


def ask(url: str) -> None:
    """Exit with an error unless a GET is answered with success in time."""
    try:
        with urlopen(url, timeout=4):  # noqa: S310 - our own loopback address
            pass
    except (OSError, HTTPException, ValueError) as e:  # an invalid PORT raises one of the last two
        sys.exit(f"{url}: {e}")


if __name__ == "__main__":
    main(sys.argv[1:])
