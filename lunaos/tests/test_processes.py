"""lunaos.processes: the commands of `make up`, the image, compose and Kubernetes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lunaos import processes
from lunaos.embedded.__main__ import platform_programs
from lunaos.embedded.home import Home
from testing.servers import ROOT, environment


def run(*words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run the module with a Python that prints its arguments."""
    code = "import os; os.execv = lambda path, argv: print(*argv[1:]); from lunaos import processes; processes.main"
    environment = {**os.environ, **variables}
    return subprocess.run(
        [sys.executable, "-c", f"{code}({list(words)!r})"], cwd=ROOT, env=environment, capture_output=True, text=True
    )


def test_it_works() -> None:
    done = run("web", PORT="8001", LUNAOS_LISTEN="::")
    assert done.stdout == "-m daphne -b :: -p 8001 -v 0 --no-server-name lunaos.asgi:application\n", done.stderr


@pytest.mark.parametrize("role", processes.ROLES)
def test_each_role_runs_the_command_of_make_up(role: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUNAOS_HOME", str(tmp_path))
    monkeypatch.setenv("LUNAOS_LISTEN", "127.0.0.1")
    monkeypatch.setenv("PORT", "8123")
    programs = {program.name: program.argv for program in platform_programs(Home(tmp_path), 8123)}
    programs["migrate"] = [sys.executable, str(ROOT / "manage.py"), "prepare"]
    programs["beat"] = processes.beat_command(tmp_path)  # a thread of the worker in `make up`
    assert processes.role_command(role) == programs[role]


def test_chains_at_once_are_a_setting() -> None:
    assert "--concurrency 3 " in run("chains", LUNAOS_CHAIN_CONCURRENCY="3").stdout
    assert "--concurrency 64 " in run("chains", LUNAOS_CHAIN_CONCURRENCY="").stdout


@pytest.mark.parametrize(
    ("role", "changes"),
    [
        ("web", {"PORT": "abc"}),
        ("web", {"PORT": "0"}),
        ("chains", {"LUNAOS_CHAIN_CONCURRENCY": "many"}),
        ("chains", {"LUNAOS_CHAIN_CONCURRENCY": "0"}),
    ],
)
def test_a_wrong_value_is_named(role: str, changes: dict[str, str]) -> None:
    done = run(role, **changes)
    ((name, value),) = changes.items()
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith(f"LunaOS cannot start: {name} is ") and value in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_unwritable_heartbeat_file_is_named(tmp_path: Path) -> None:
    done = run("web", LUNAOS_SIGN_OF_LIFE=str(tmp_path / "nowhere" / "role"))
    assert done.returncode == 1 and done.stderr.startswith("LunaOS cannot start: ") and "Traceback" not in done.stderr


@pytest.mark.parametrize("module", [["daphne", "lunaos.asgi:application"], ["celery", "-A", "lunaos", "beat"]])
def test_a_wrong_setting_ends_each_kind_of_process_with_its_reason(module: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *module],
        cwd=ROOT,
        env=environment(LUNAOS_THREADS="many"),
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "LUNAOS_THREADS is 'many'" in done.stderr and "Traceback" not in done.stderr


def test_management_commands_get_their_arguments() -> None:
    assert run("manage", "set_tier", "a@example.com", "pro").stdout == f"{ROOT}/manage.py set_tier a@example.com pro\n"


@pytest.mark.parametrize("words", [[], ["webb"], ["web", "worker"]])
def test_an_unknown_role_is_refused(words: list[str]) -> None:
    done = run(*words)
    assert done.returncode == 1 and done.stderr.startswith("usage: ")


def test_the_role_is_written_to_the_heartbeat_file(tmp_path: Path) -> None:
    run("chains", LUNAOS_SIGN_OF_LIFE=str(tmp_path / "role"))
    assert (tmp_path / "role").read_text() == "chains"
