"""The whole platform with servers of its own, which a test may kill and restart."""

import itertools
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from lunaos import processes
from lunaos.embedded import servers
from lunaos.embedded.__main__ import base_environment, platform_programs
from lunaos.embedded.home import Home
from lunaos.embedded.process import Program, spawn
from lunaos.embedded.servers import free_port, responds_ok, until
from testing import database, prepared
from testing.client import PASSWORD, Api
from testing.servers import ROOT, start

STARTS_WITHIN_S, STOPS_WITHIN_S = 60, 30
CADDY = Path(sys.executable).with_name("caddy")


class Stack:
    """PostgreSQL, Valkey and programs on them: `web`, `worker`, `chains-1`, …."""

    # `proxy` is Caddy in front of `web` and `web-2`, with the Caddyfile that is deployed.

    by_command = False
    settings = "testing.quick_settings"

    def __init__(self, folder: Path, *programs: str, **environment: str) -> None:
        self.home = Home(folder)
        self._first = programs or ("web", "worker")  # whose worker sends the periodic tasks
        self._is_prepared = prepared.bring_to(self.home)
        self.ports = {name: free_port() for name in ("web", "web-2", "proxy")}
        postgres, database_url = servers.postgres(self.home)
        valkey, redis_url = servers.valkey(self.home)
        urls = {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
        self.environment = {**os.environ, **base_environment(self.home), **urls, **environment}
        self.environment |= {"DJANGO_SETTINGS_MODULE": self.settings, "LUNAOS_LOG_LEVEL": "INFO"}
        self._programs = {"postgres": postgres, "valkey": valkey}
        self._programs |= {program.name: program for program in platform_programs(self.home, self.ports["web"])}
        self._programs["proxy"] = self._proxy()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._numbers = itertools.count(1)
        self._database = psycopg.conninfo.make_conninfo(host=str(self.home.sockets), dbname="lunaos", user="lunaos")

    def __enter__(self) -> "Stack":
        if not self._is_prepared:
            self._prepare()
        self.start("postgres", "valkey")
        self.start(*self._first)
        return self

    def __exit__(self, *_: object) -> None:
        for name in reversed(list(self._processes)):
            self.end(name)

    def _prepare(self) -> None:
        self.start("postgres", "valkey")
        database.restore(self._database)
        done = subprocess.run(
            [sys.executable, "manage.py", "prepare"], cwd=ROOT, env=self.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        self.end("postgres", signal.SIGINT)
        self.end("valkey", signal.SIGINT)
        prepared.keep(self.home)

    @property
    def api(self) -> Api:
        return self.api_of("web")

    def api_of(self, name: str) -> Api:
        """Return a client of a web process, or of the proxy."""
        return Api(base_url=self._url(name), timeout=60)

    def start(self, *names: str) -> None:
        """Start programs and wait until they are up; `chains-2` is another `chains`."""
        for name in names:
            self._program(name).log.unlink(missing_ok=True)  # readiness is read from some
            self._processes[name] = self._spawn(self._program(name))
        for name in names:
            assert until(self._program(name).ready, STARTS_WITHIN_S), (name, self.log(name))

    def _spawn(self, program: Program) -> subprocess.Popen[bytes]:
        python, module, *_ = program.argv
        if self.by_command or (python, module) != (sys.executable, "-m"):
            return spawn(program, self.environment)
        return start(program.argv[1:], program.log, {**self.environment, **program.env})

    def end(self, name: str, with_signal: int = signal.SIGKILL) -> None:
        process = self._processes.pop(name)
        process.send_signal(with_signal)
        process.wait(STOPS_WITHIN_S)

    def signal(self, name: str, with_signal: int) -> None:
        self._processes[name].send_signal(with_signal)

    def pid(self, name: str) -> int:
        return self._processes[name].pid

    def log(self, name: str) -> str:
        return self._program(name).log.read_text()[-3_000:]

    def _url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}"

    def _program(self, name: str) -> Program:
        kind, _, number = name.partition("-")
        if not number:
            return self._programs[kind]
        log = self.home.logs / f"{name}.log"
        if kind == "web":
            argv = processes.web_command("127.0.0.1", self.ports[name])
            return replace(
                self._programs[kind], argv=argv, log=log, ready=lambda: responds_ok(f"{self._url(name)}/ready")
            )
        argv = [f"{name}@%h" if word.endswith("@%h") else word for word in self._programs[kind].argv]
        return replace(self._programs[kind], argv=argv, log=log, ready=lambda: b" ready." in log.read_bytes())

    def _proxy(self) -> Program:
        # In place of a service's name, the Caddyfile gets this machine's two web processes.
        nodes = " ".join(self._url(name).removeprefix("http://") for name in ("web", "web-2"))
        text = re.sub(
            r"dynamic a \{.*?\n\t\t\}", f"to {nodes}", (ROOT / "deploy" / "Caddyfile").read_text(), flags=re.DOTALL
        )
        caddyfile = self.home.path / "Caddyfile"
        caddyfile.write_text(text)
        return Program(
            "proxy",
            [str(CADDY), "run", "--config", str(caddyfile), "--adapter", "caddyfile"],
            self.home.logs / "proxy.log",
            ready=lambda: responds_ok(f"{self._url('proxy')}/health"),
            env={"LUNAOS_SITE": self._url("proxy"), "HOME": str(self.home.path)},
        )

    def sign_up(self) -> dict[str, str]:
        """Return the headers of a new user."""
        number = next(self._numbers)
        # From an address of its own: there is a limit to signing up.
        form = {"email": f"user-{number}@example.com", "password": PASSWORD}
        response = self.api.from_address(f"127.0.1.{number}").post("/auth/signup", json=form)
        return {"Authorization": f"Bearer {response.json()['data']['token']}"}

    def sql(self, statement: str, *values: Any) -> list[Any]:
        """Query or change the database behind the platform's back."""
        with psycopg.connect(self._database, autocommit=True) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []


class CommandStack(Stack):
    """A stack of processes by command line, as `make up` starts them, not by a fork."""

    by_command = True
    settings = "lunaos.settings"


def stack_fixtures(
    *further: str,
    changes: dict[str, str],
    kind: type[Stack] = Stack,
    variables: str = "provider_environment",
    provider: str = "upstream",
) -> Any:
    """Return fixtures: a module's stack with `further` programs, the stack, and a new user's headers."""
    # `variables` and `provider` name fixtures: environment variables, and the scripted server that answers the stack.

    @pytest.fixture(scope="module")
    def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
        environment = {**request.getfixturevalue(variables), **changes}
        with kind(tmp_path_factory.mktemp("s"), **environment) as stack:
            # Tests may leave runs under way, and start many as one user.
            stack.sql("UPDATE billing_tier SET executions_at_once = 50 WHERE name = 'free'")
            stack.start(*further)
            yield stack

    @pytest.fixture
    def stack(stack_process: Stack, request: pytest.FixtureRequest) -> Iterator[Stack]:
        scripted = request.getfixturevalue(provider)
        yield stack_process
        scripted.resume.set()

    @pytest.fixture
    def alice(stack: Stack) -> dict[str, str]:
        return stack.sign_up()

    return running, stack, alice
