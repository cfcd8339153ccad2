"""A worker's sign of life, by which its container is watched."""

import os
import signal
from pathlib import Path

from lunaos.embedded.servers import until
from testing.stack import Stack


def test_it_comes_back_with_the_broker(tmp_path: Path) -> None:
    sign = tmp_path / "sign"
    sign.write_text("worker")
    with Stack(tmp_path / "home", "worker", LUNAOS_SIGN_OF_LIFE=str(sign)) as stack:
        for number in (signal.SIGKILL, signal.SIGTERM):
            os.utime(sign, (0, 0))
            assert until(lambda: sign.stat().st_mtime > 0, 30), stack.log("worker")
            stack.end("valkey", number)
            stack.start("valkey")
            os.utime(sign, (0, 0))
            assert until(lambda: sign.stat().st_mtime > 0, 60), stack.log("worker")
    assert sign.read_text() == "worker"
