"""Failures around the supervisor: kills, remains of runs, slow ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from lunaos.embedded import servers
from lunaos.embedded.home import Home
from lunaos.embedded.process import Program
from lunaos.embedded.servers import until
from lunaos.embedded.supervisor import Supervisor
from testing.servers import ROOT

STUBBORN = (
    "import os, signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)"
)


def supervisor() -> Supervisor:
    return Supervisor(dict(os.environ), print_line=lambda line: None)


def stubborn(folder: Path, name: str) -> Program:
    file = folder / name
    return Program(
        name,
        [sys.executable, "-c", STUBBORN, str(file)],
        folder / f"{name}.log",
        ready=lambda: file.exists() and file.read_text() != "",
    )


def running(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_several_stubborn_programs_share_one_grace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lunaos.embedded.supervisor.SERVERS_GRACE_S", 1.0)
    several = supervisor()
    several.start(*(stubborn(tmp_path, name) for name in "abc"))
    began = time.monotonic()
    several.stop()
    assert time.monotonic() - began < 3  # a grace each would take that
    assert not any(running(int((tmp_path / name).read_text())) for name in "abc")


def test_a_program_that_dies_at_its_first_start_is_restarted(tmp_path: Path) -> None:
    died, up = tmp_path / "died", tmp_path / "up"
    code = (
        f"from pathlib import Path; died = Path({str(died)!r}); (Path({str(up)!r}) if died.exists() else died).touch()"
    )
    program = Program("late", [sys.executable, "-c", code], tmp_path / "log", ready=up.exists)
    one = supervisor()
    one.start(program)
    one.stop()
    assert died.exists() and up.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_a_stubborn_program_dies_with_a_killed_supervisor(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from lunaos.embedded.tests.test_failures import *; "
        "one = supervisor(); one.start(stubborn(Path(sys.argv[1]), 'a')); one.watch()"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT)
    assert until(lambda: (tmp_path / "a").exists() and (tmp_path / "a").read_text() != "", 10)
    process.kill()
    process.wait()
    assert until(lambda: not running(int((tmp_path / "a").read_text())), 5)


def test_remains_of_a_killed_setup_and_stale_locks_do_not_matter(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    remains = home.path / "postgres.new1"
    remains.mkdir()
    (remains / "PG_VERSION").write_text("18\n")
    (home.sockets / ".s.PGSQL.5432.lock").write_text(f"{os.getpid()}\n{home.path}/postgres\n")
    one = supervisor()
    try:
        one.start(servers.postgres(home, durable=False)[0])
    finally:
        one.stop()
    (home.path / "postgres" / "postmaster.pid").write_text(f"{os.getpid()}\n{home.path}/postgres\n")
    try:
        one.start(servers.postgres(home, durable=False)[0])
    finally:
        one.stop()
    assert not remains.exists()


@pytest.mark.parametrize("name", ["with space", "a,b", "a%20b", "a#b", "a?b", "x" * 90])
def test_sockets_avoid_names_that_urls_or_servers_misread(tmp_path: Path, name: str) -> None:
    folder = Home(tmp_path / name).sockets
    assert not folder.is_relative_to(tmp_path)
    folder.rmdir()


def run(*command: str, **changes: str) -> subprocess.Popen[str]:
    """`run` with a group of its own, as without a terminal."""
    return subprocess.Popen(
        [sys.executable, "-m", "lunaos.embedded", "run", "--", *command],
        cwd=ROOT,
        env={**os.environ, **changes},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize("send", [os.kill, os.killpg])  # to the supervisor alone, or to its whole group
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_passes_a_signal_on_once(number: int, send: Callable[[int, int], None]) -> None:
    code = (
        "import signal, sys, time; heard = []\n"
        f"signal.signal({int(number)}, lambda *_: heard.append(1)); print('ready', flush=True)\n"
        "while not heard: time.sleep(0.05)\n"
        "time.sleep(0.5); sys.exit(40 + len(heard))"
    )
    process = run(sys.executable, "-c", code)
    assert process.stdout and process.stdout.readline() == "ready\n"
    send(process.pid, number)
    process.communicate(timeout=20)
    assert process.returncode == 41


def test_run_shows_no_real_server_and_the_signal_that_ended_the_command() -> None:
    process = run(
        "sh", "-c", 'echo "[$LOCAL_BASE_URL$LOCAL_API_KEY]"; kill -9 $$', LOCAL_BASE_URL="x", LOCAL_API_KEY="y"
    )
    assert process.communicate(timeout=30)[0] == "[]\n"
    assert process.returncode == 128 + signal.SIGKILL
