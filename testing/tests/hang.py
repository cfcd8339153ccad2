"""A test that never ends, to be killed by `test_forkserver`."""

import os
import threading
from pathlib import Path
from subprocess import Popen

import pytest

from testing.browser import CHROMIUM


def test_hangs(server: str, chains_worker: "Popen[bytes]", request: pytest.FixtureRequest) -> None:
    if CHROMIUM.exists():
        request.getfixturevalue("browser_page")()
    Path(os.environ["SIGN"]).touch()
    threading.Event().wait()
