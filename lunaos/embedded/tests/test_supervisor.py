"""The supervisor: with real processes, real signals, real kills."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from lunaos.embedded.home import Home, HomeInUse
from lunaos.embedded.process import Program
from lunaos.embedded.servers import free_port, until
from lunaos.embedded.supervisor import StartFailed, Supervisor
from testing.servers import ROOT

SLEEPER = "import time; time.sleep(600)"

Watched = tuple[subprocess.Popen[str], Path]


def program(folder: Path, code: str = SLEEPER, name: str = "sleeper") -> Program:
    return Program(name, [sys.executable, "-c", code], folder / f"{name}.log")


WATCH = """
import os, sys
from pathlib import Path
from lunaos.embedded.process import Program
from lunaos.embedded.supervisor import StopRequested, Supervisor

folder = Path(sys.argv[1])
code = "import os, time; open(%r, 'a').write(str(os.getpid()) + '\\\\n'); time.sleep(600)" % str(folder / "pids")
supervisor = Supervisor(dict(os.environ), print_line=lambda line: print(line, flush=True))
supervisor.install_signal_handlers()
try:
    supervisor.start(Program("sleeper", [sys.executable, "-c", code], folder / "sleeper.log"))
    supervisor.watch()
except StopRequested:
    pass
supervisor.stop()
print("stopped", flush=True)
"""


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """Return a supervisor in a process of its own, watching one child."""
    command = [sys.executable, "-c", WATCH, str(tmp_path)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert until(lambda: len(pids(tmp_path)) == 1, 10)
    yield process, tmp_path
    if process.poll() is None:
        process.kill()
    process.wait()


def pids(folder: Path) -> list[int]:
    file = folder / "pids"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_killed_child_is_restarted_and_reported(watched: Watched) -> None:
    process, folder = watched
    os.kill(pids(folder)[0], signal.SIGKILL)
    assert until(lambda: len(pids(folder)) == 2, 10)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=15)[0]

    assert "sleeper ended (SIGKILL); restarting it in 1 s" in said
    assert said.endswith("stopped\n")
    assert all(gone(pid) for pid in pids(folder))


def test_the_pause_doubles(watched: Watched) -> None:
    process, folder = watched
    for n in (1, 2):
        os.kill(pids(folder)[-1], signal.SIGKILL)
        assert until(lambda n=n: len(pids(folder)) == n + 1, 10)  # type: ignore[misc]
    process.terminate()
    said = process.communicate(timeout=15)[0]
    assert "restarting it in 1 s" in said and "restarting it in 2 s" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_all(watched: Watched, number: int) -> None:
    process, folder = watched
    process.send_signal(number)
    process.send_signal(number)  # an impatient second one
    assert process.wait(15) == 0
    assert gone(pids(folder)[0])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_a_killed_supervisor_takes_its_children_along(watched: Watched) -> None:
    process, folder = watched
    process.kill()
    process.wait()
    assert until(lambda: gone(pids(folder)[0]), 10)


def test_a_child_that_ignores_the_signal_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lunaos.embedded.supervisor.SERVERS_GRACE_S", 0.5)
    stubborn = (
        f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); open({str(tmp_path / 'up')!r}, 'w'); {SLEEPER}"
    )
    lines: list[str] = []
    supervisor = Supervisor(dict(os.environ), print_line=lines.append)
    supervisor.start(program(tmp_path, stubborn))
    assert until((tmp_path / "up").exists, 10)
    child = supervisor._children[0].process
    supervisor.stop()

    assert child.returncode == -signal.SIGKILL
    assert any("was killed" in line for line in lines)


def test_a_program_that_does_not_start_is_shown_with_its_log(tmp_path: Path) -> None:
    supervisor = Supervisor(dict(os.environ), print_line=lambda line: None)
    failing = Program("broken", [sys.executable, "-c", "exit('no luck')"], tmp_path / "log", ready=lambda: False)
    with pytest.raises(StartFailed, match="no luck"):
        supervisor.start(failing)
    supervisor.stop()


def test_a_home_has_one_supervisor(tmp_path: Path) -> None:
    first = Home(tmp_path)
    first.lock()
    code = f"from lunaos.embedded.home import Home; from pathlib import Path; Home(Path({str(tmp_path)!r})).lock()"
    other = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert HomeInUse.__name__ in other.stderr and "set LUNAOS_HOME" in other.stderr


def test_secrets_are_made_once_and_for_the_owner(tmp_path: Path) -> None:
    home = Home(tmp_path)
    secret = home.secret("key")
    assert len(secret) > 40 and Home(tmp_path).secret("key") == secret
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


def test_sockets_of_a_deep_home_lie_elsewhere(tmp_path: Path) -> None:
    deep = Home(tmp_path / ("x" * 90))
    assert not deep.sockets.is_relative_to(deep.path)
    assert len(str(deep.sockets)) < 60
    assert deep.sockets == Home(deep.path).sockets
    assert deep.sockets.stat().st_mode & 0o777 == 0o700
    deep.sockets.rmdir()


def run(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lunaos.embedded", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **changes}, capture_output=True, text=True, timeout=60, check=False
    )


USE_SERVERS = """
import os, psycopg, redis
url = os.environ["DATABASE_URL"].removeprefix("postgres://")
user, _, rest = url.partition("@/")
folder, _, name = rest.rpartition("/")
with psycopg.connect(host=folder, user=user, dbname=name) as connection:
    connection.execute("CREATE EXTENSION vector")
    print(connection.execute("SHOW server_version").fetchone()[0].split(".")[0])
client = redis.Redis.from_url(os.environ["REDIS_URL"])
client.set("a", 1)
print(client.info()["valkey_version"].split(".")[0], os.environ["LUNAOS_HOME"])
raise SystemExit(7)
"""


def test_run_gives_a_command_servers_of_its_own_and_its_exit_code() -> None:
    done = run("run", "--", sys.executable, "-c", USE_SERVERS, DATABASE_URL="postgres://real", REDIS_URL="redis://real")

    assert done.returncode == 7, done.stderr
    postgres, valkey_and_home = done.stdout.split("\n")[:2]
    valkey, home = valkey_and_home.split()
    assert (postgres, valkey) == ("18", "9")
    assert not Path(home).exists()
    assert not [p for p in psutil.process_iter(["cmdline"]) if home in " ".join(p.info["cmdline"] or [])]


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """`up` on a home of its own; ended with the test."""
    started: list[subprocess.Popen[str]] = []
    port = str(free_port())

    def up() -> subprocess.Popen[str]:
        environment = {k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "REDIS_URL")}
        environment |= {"PORT": port, "LUNAOS_HOME": str(tmp_path / "home"), "LOCAL_BASE_URL": "http://127.0.0.1:9/v1"}
        environment.pop("DJANGO_SETTINGS_MODULE", None)
        command = [sys.executable, "-m", "lunaos.embedded", "up"]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield up
    for process in started:
        process.terminate()
        process.wait(30)
        assert process.stdout
        process.stdout.close()


def read_until(process: subprocess.Popen[str], text: str) -> str:
    assert process.stdout
    seen = ""
    while text not in seen and (line := process.stdout.readline()):
        seen += line
    assert text in seen, seen
    return seen


def manage(home: Path, *words: str) -> tuple[int, bool]:
    """Run a command beside the platform; return its code, and if a user is unknown."""
    environment = {k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "REDIS_URL", "DJANGO_SECRET_KEY")}
    command = [sys.executable, "-m", "lunaos.embedded", "manage", *words]
    done = subprocess.run(command, cwd=ROOT, env={**environment, "LUNAOS_HOME": str(home)}, capture_output=True)
    return done.returncode, b"nobody@example.com" in done.stderr


def test_up_kill_and_up_again(platform: Callable[[], subprocess.Popen[str]], tmp_path: Path) -> None:
    first = platform()
    said = read_until(first, "LunaOS is up at")
    assert "Staff account: admin@localhost.localdomain, password " in said
    assert "curl -N" in read_until(first, "def add(a, b)")

    assert manage(tmp_path / "home", "set_tier", "nobody@example.com", "pro") == (1, True)

    second = platform()
    assert "another LunaOS runs in" in read_until(second, "cannot start")
    assert second.wait(10) == 1

    first.kill()
    first.wait()
    third = platform()
    said = read_until(third, "LunaOS is up at")
    assert "Staff account" not in said
    third.send_signal(signal.SIGINT)
    assert third.wait(20) == 0
    home = str(tmp_path / "home")
    assert not [p for p in psutil.process_iter(["cmdline"]) if home in " ".join(p.info["cmdline"] or [])]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"PORT": "abc"}, "PORT is 'abc', which is not a whole number: set a value such as 8000."),
        ({"PORT": "70000"}, "PORT is 70000: set 1 to 65535."),
        ({"STRIPE": "local", "STRIPE_PORT": "x"}, "STRIPE_PORT is 'x'"),
        ({"STRIPE": "remote"}, "STRIPE is 'remote': set STRIPE=local"),
        ({"LUNAOS_HOME": "/dev/null/home"}, "Not a directory: '/dev/null/home'"),
    ],
)
def test_a_wrong_value_is_named_before_anything_starts(tmp_path: Path, changes: dict[str, str], reason: str) -> None:
    done = run("up", **{"PORT": str(free_port()), "LUNAOS_HOME": str(tmp_path / "home"), **changes})
    assert done.returncode == 1
    assert "LunaOS cannot start: " in done.stdout and reason in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / "home" / "postgres").exists()


def test_manage_names_a_home_that_cannot_be_one() -> None:
    done = run("manage", "check", LUNAOS_HOME="/dev/null/home")
    assert done.returncode == 1 and "/dev/null/home" in done.stderr and "Traceback" not in done.stderr


def test_a_taken_port_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        done = run("up", PORT=port, LUNAOS_HOME=str(tmp_path / "home"))
    assert done.returncode == 1
    assert f"port {port} is in use: set PORT" in done.stdout
    assert not (tmp_path / "home" / "postgres").exists()
