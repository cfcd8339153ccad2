"""Run the platform or a command on embedded servers: `python -m lunaos.embedded`."""

import argparse
import errno
import os
import shutil
import signal
import socket
import sys
import tempfile
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from lunaos import environment as env_variables
from lunaos import processes
from lunaos.embedded import servers, stripe_double
from lunaos.embedded.home import Home, HomeInUse
from lunaos.embedded.process import Program
from lunaos.embedded.supervisor import Child, StartFailed, StopRequested, Supervisor
from lunaos.infra import wait_messages

# Removed from the environment of `run`: tests must never touch a real database or a paid model.
REMOVED_VARIABLES = (
    *("DATABASE_URL", "REDIS_URL", "EVENT_LOG_REDIS_URL", "LOCAL_BASE_URL", "LOCAL_API_KEY"),
    *("STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRETS", "STRIPE_API_HOST"),
    *("EMBEDDINGS_BASE_URL", "EMBEDDINGS_API_KEY", "EMBEDDINGS_MODEL", "EMBEDDINGS_TOKENIZER"),
)
SYNC_PLANS = [sys.executable, "manage.py", "sync_stripe_plans"]
PORT_RELEASE_TIMEOUT_S = 1
WELCOME = """
LunaOS is up at {url}   (documentation: {url}/docs, staff: {url}/admin/, stop: Ctrl-C)

Paste this to sign up and watch an agent answer:

  TOKEN=$(curl -s {url}/auth/signup -H 'Content-Type: application/json' \\
    -d "{{\\"email\\":\\"demo$(date +%s)@example.com\\",\\"password\\":\\"correct horse 42 battery\\"}}" \\
    | sed 's/.*"token":"\\([^"]*\\)".*/\\1/')
  curl -N {url}/agents/execute -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \\
    -d '{{"agent":"code-review","context":"def add(a, b): return a - b"}}'
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m lunaos.embedded", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("up", help="run the whole platform until Ctrl-C")
    run = actions.add_parser("run", help="run a command with servers of its own")
    run.add_argument("--llm", action="store_true", help="start the embedded model too")
    run.add_argument("command", nargs="+")
    actions.add_parser("manage", help="run manage.py on LUNAOS_HOME, beside `up` or without it", add_help=False)
    for name, meaning in (("backup", "back up LUNAOS_HOME"), ("restore", "restore a backup to LUNAOS_HOME")):
        actions.add_parser(name, help=f"{meaning}; arguments go to manage.py {name}", add_help=False)
    options, words = parser.parse_known_args()
    if options.action in ("backup", "restore"):
        return manage([options.action, "--home", *words])
    if options.action == "manage":
        return manage(words)
    if words:
        parser.error(f"unknown: {' '.join(words)}")
    return up() if options.action == "up" else run_command(options.command, llm=options.llm)


def up() -> int:
    supervisor = Supervisor(dict(os.environ), print_line=print_line)
    supervisor.install_signal_handlers()
    try:
        port = env_variables.read_int("PORT", 8000)
        supervisor.environment["PORT"] = str(port)
        # Refuse a wrong setting before any server starts.
        stripe_double.is_requested()
        home = Home(home_folder())
        home.lock()
        require_free_port(port)
        supervisor.environment |= base_environment(home)
        model = launch_model(supervisor, home)
        start_servers(supervisor, home)
        if stripe_double.is_requested():
            start_stripe(supervisor, home, port)
        home.save_environment({name: value for name, value in supervisor.environment.items() if name not in os.environ})
        if supervisor.run([sys.executable, "manage.py", "prepare"]):
            return 1
        # Stripe's answer may take long, and the platform serves without it.
        with wait_messages.repeat_while_waiting(print_line, lambda: "the prices at Stripe"):
            unknown = supervisor.environment.get("STRIPE_SECRET_KEY") and supervisor.run(SYNC_PLANS)
        if unknown:
            print_line(
                "Stripe has no prices of the plans: run `manage.py sync_stripe_plans` when Stripe can be reached."
            )
        print_line("Starting the platform")
        supervisor.await_ready(model + supervisor.launch(*platform_programs(home, port)))
        print_line(WELCOME.format(url=f"http://localhost:{port}"))
        if stripe_double.is_requested():
            print_line(f"Failed payments, refunds and disputes of Stripe's double: {stripe_double.url()}/")
        supervisor.watch()
    except StopRequested:
        pass
    except (HomeInUse, ImproperlyConfigured, StartFailed, OSError) as e:
        print_line(f"LunaOS cannot start: {e}")
        return 1
    finally:
        supervisor.stop()
    print_line("LunaOS has stopped.")
    return 0


def manage(words: list[str]) -> int:
    """Run a management command on the home's servers; start them unless `up` runs."""
    supervisor = Supervisor(dict(os.environ), print_line=print_wait_message)
    supervisor.install_signal_handlers()
    try:
        home = Home(home_folder())
        supervisor.environment |= base_environment(home)
        try:
            home.lock()
            start_servers(supervisor, home)
        except HomeInUse:
            there = {"DATABASE_URL": servers.database_url(home), "REDIS_URL": servers.redis_url(home)}
            supervisor.environment = there | home.load_environment() | supervisor.environment
        return supervisor.run_in_foreground([sys.executable, "manage.py", *words])
    except StopRequested:
        return 128 + signal.SIGTERM
    except (StartFailed, OSError) as e:
        print(e, file=sys.stderr)
        return 1
    finally:
        supervisor.stop()


def run_command(command: list[str], *, llm: bool) -> int:
    """Run a command on servers of its own, independent of all others on this machine."""
    folder = Path(tempfile.mkdtemp(prefix="lunaos-"))
    home = Home(folder)
    environment = {name: value for name, value in os.environ.items() if name not in REMOVED_VARIABLES}
    supervisor = Supervisor({**environment, **base_environment(home)}, print_line=print_wait_message)
    supervisor.install_signal_handlers()
    try:
        database, database_url = servers.postgres(home, durable=False)
        cache, redis_url = servers.valkey(home, durable=False)
        supervisor.environment |= {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
        programs = [database, cache]
        if llm:
            model, found = servers.llama(home)
            supervisor.environment |= found
            programs.append(model)
        supervisor.start(*programs)
        return supervisor.run_in_foreground(command)
    except StopRequested:
        return 128 + signal.SIGTERM
    except (StartFailed, OSError) as e:
        print(e, file=sys.stderr)
        return 1
    finally:
        supervisor.stop()
        shutil.rmtree(home.sockets, ignore_errors=True)  # may lie outside the folder
        shutil.rmtree(folder, ignore_errors=True)


def home_folder() -> Path:
    return Path(os.environ.get("LUNAOS_HOME") or ".lunaos")


def base_environment(home: Home) -> dict[str, str]:
    secret = os.environ.get("DJANGO_SECRET_KEY") or home.secret("secret-key")
    return {"LUNAOS_HOME": str(home.path), "DJANGO_SECRET_KEY": secret, "PYTHONUNBUFFERED": "1"}


def start_servers(supervisor: Supervisor, home: Home) -> None:
    """Start PostgreSQL and Valkey in parallel, unless variables name other servers."""
    programs: list[Program] = []
    if not os.environ.get("DATABASE_URL"):
        print_line("Starting the embedded servers" if (home.path / "postgres").exists() else "Setting up the database")
        with wait_messages.repeat_while_waiting(
            print_line, lambda: "PostgreSQL's files, or an earlier PostgreSQL to end"
        ):
            program, supervisor.environment["DATABASE_URL"] = servers.postgres(home)
        programs.append(program)
    if not os.environ.get("REDIS_URL"):
        with wait_messages.repeat_while_waiting(print_line, lambda: "an earlier Valkey to end"):
            program, supervisor.environment["REDIS_URL"] = servers.valkey(home)
        programs.append(program)
    supervisor.start(*programs)


def start_stripe(supervisor: Supervisor, home: Home, port: int) -> None:
    require_free_port(stripe_double.port(), "STRIPE_PORT")
    program, found = stripe_double.create_program(home, port)
    supervisor.environment |= found
    supervisor.start(program)


def launch_model(supervisor: Supervisor, home: Home) -> list[Child]:
    replaced = {name for name in ("LOCAL", "EMBEDDINGS") if os.environ.get(f"{name}_BASE_URL")}
    if len(replaced) == 2:
        return []
    with wait_messages.repeat_while_waiting(print_line, lambda: "the embedding model to be converted"):
        program, found = servers.llama(home)
    own = {name: value for name, value in found.items() if name.partition("_")[0] not in replaced}
    supervisor.environment |= own
    # Not awaited: the models load while the database is prepared.
    return supervisor.launch(program)


def platform_programs(home: Home, port: int) -> list[Program]:
    return [
        *(worker_program(home, role) for role in processes.QUEUES),
        Program(
            "web",
            processes.web_command("127.0.0.1", port),
            home.logs / "web.log",
            ready=lambda: servers.responds_ok(f"http://127.0.0.1:{port}/ready"),
            stopped_first=True,
        ),
    ]


def worker_program(home: Home, role: str) -> Program:
    """Return a worker; that of short jobs sends the periodic tasks too, which spares a process."""
    schedule = {"LUNAOS_BEAT_SCHEDULE": processes.beat_schedule(home.path)} if role == "worker" else {}
    command = processes.worker_command(role)
    return Program(role, command, home.logs / f"{role}.log", env=schedule, stopped_first=True)


def require_free_port(port: int, variable: str = "PORT") -> None:
    """Raise OSError if the port is in use or not permitted."""
    # A process that has just stopped may hold the port for a moment.
    if not servers.until(lambda: get_bind_error(port) is None, PORT_RELEASE_TIMEOUT_S):
        reason = "is in use" if get_bind_error(port) == errno.EADDRINUSE else "may not be used"
        raise OSError(f"port {port} {reason}: set {variable} to another port")


def get_bind_error(port: int) -> int | None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as e:
            return e.errno
    return None


def print_line(line: str) -> None:
    try:
        print(line, flush=True)
    # A closed terminal must not prevent the shutdown.
    except OSError:
        pass


def print_wait_message(line: str) -> None:
    # Nothing else, since the command beside has output of its own.
    if line.startswith(wait_messages.PREFIX):
        print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
