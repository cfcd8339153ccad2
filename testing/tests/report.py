"""A process's knowledge of itself: `python -m testing.tests.report FILE SETTING`."""

import json
import os
import sys
from pathlib import Path

import django
from django.conf import settings
from django.db import connection


def main(file: str, setting: str) -> None:
    django.setup()
    from runs.recovery import liveness

    facts = {
        "setting": getattr(settings, setting),
        "database": connection.settings_dict["NAME"],
        "number": liveness.PROCESS_NUMBER,
        "by_fork": b"testing.forkmain" in Path("/proc/self/cmdline").read_bytes(),
        "planted": os.environ.get("PLANTED"),
        "argv": sys.argv[1:],
    }
    Path(file).write_text(json.dumps(facts))


if __name__ == "__main__":
    main(*sys.argv[1:])
