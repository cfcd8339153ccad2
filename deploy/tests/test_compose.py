"""compose.yaml: valid, and the same processes, user and numbers as the image and the proxy have."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from lunaos import processes
from testing.servers import ROOT, environment

COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PLATFORM = {name: value for name, value in SERVICES.items() if "env_file" in value}


def validate(file: Path) -> "subprocess.CompletedProcess[str]":
    pytest.importorskip("check_jsonschema", reason="see requirements/ci.in")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)]
    return subprocess.run(command, capture_output=True, text=True)


def test_it_works() -> None:
    done = validate(ROOT / "compose.yaml")
    assert done.returncode == 0, done.stdout


def test_the_schema_finds_something(tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text("services:\n  web:\n    imagine: lunaos\n")
    assert "imagine" in validate(file).stdout


def test_each_role_is_a_service() -> None:
    assert set(PLATFORM) == set(processes.ROLES)
    assert all(service["command"] == [role] for role, service in PLATFORM.items())
    assert SERVICES["web"]["deploy"]["replicas"] == 2
    assert "deploy" not in SERVICES["beat"]


def test_nothing_starts_before_the_migration_but_what_it_needs() -> None:
    for role, service in PLATFORM.items():
        waits_for = {name: each["condition"] for name, each in service["depends_on"].items()}
        assert waits_for.pop("migrate", None) == (None if role == "migrate" else "service_completed_successfully")
        assert waits_for == dict.fromkeys(("postgres", "valkey", "valkey-events"), "service_healthy")
    assert SERVICES["migrate"]["restart"] == "no"


def test_only_the_proxy_is_reached_from_outside() -> None:
    reached = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert {name for name, ports in reached.items() if not str(ports[0]).startswith("127.0.0.1:")} == {"proxy"}
    assert {name for name, service in SERVICES.items() if "profiles" in service} == reached.keys() - {"proxy"}
    assert COMPOSE["networks"]["data"]["internal"]
    assert SERVICES["proxy"]["networks"] == ["outside"]
    assert all(SERVICES[name]["networks"] == ["data"] for name in ("postgres", "valkey", "valkey-events"))


def test_event_logs_cannot_keep_limits_from_counting() -> None:
    """They lie at a server of their own; neither evicts anything, and the bound is below the memory."""
    environment = PLATFORM["web"]["environment"]
    assert environment["REDIS_URL"] != environment["EVENT_LOG_REDIS_URL"]
    for name in ("valkey", "valkey-events"):
        command = SERVICES[name]["command"]
        assert command[command.index("--maxmemory-policy") + 1] == "noeviction"
        assert int(command[command.index("--maxmemory") + 1].removesuffix("mb")) > 256
    assert SERVICES["valkey"]["volumes"] != SERVICES["valkey-events"]["volumes"]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_each_is_limited_and_comes_back(name: str) -> None:
    service = SERVICES[name]
    assert service["mem_limit"] and service["stop_grace_period"]
    assert service["restart"] == ("no" if name == "migrate" else "unless-stopped")
    if name in (*PLATFORM, "proxy"):
        assert service["read_only"] and service["cap_drop"] == ["ALL"]
    if name not in PLATFORM:
        assert re.fullmatch(r"[a-z/]+:v?[0-9][a-z0-9.-]+(@sha256:[0-9a-f]{64})?", service["image"])
        assert service["healthcheck"]["test"]


def test_what_is_asked_to_stop_has_the_time_that_it_gives_its_runs() -> None:
    for service in PLATFORM.values():
        assert int(service["stop_grace_period"][:-1]) >= int(service["environment"]["LUNAOS_STOP_GRACE_S"]) + 10


def test_the_proxy_passes_streams_on() -> None:
    assert "flush_interval -1" in (ROOT / "deploy" / "Caddyfile").read_text()


def test_the_proxy_knows_the_settings_of_the_platform() -> None:
    limits = {"LUNAOS_MAX_BODY_BYTES", "LUNAOS_RAG_MAX_BODY_BYTES"}
    assert limits <= SERVICES["proxy"]["environment"].keys()


def test_the_environment_that_is_made_starts(database: None) -> None:
    """Django's deployment check passes with generated secrets."""
    made = [subprocess.run([ROOT / "deploy/make-env", "luna.test"], capture_output=True, text=True) for _ in range(2)]
    assert [each.stderr for each in made] == ["", ""]
    variables, others = (dict(re.findall(r"^([A-Z_]+)=(.*)$", each.stdout, re.MULTILINE)) for each in made)
    secrets = {
        "POSTGRES_PASSWORD",
        "VALKEY_PASSWORD",
        "GRAFANA_PASSWORD",
        "DJANGO_SECRET_KEY",
        "LUNAOS_ENCRYPTION_KEYS",
        "LUNAOS_JWT_KEYS",
    }
    assert {name for name in variables if variables[name] != others[name]} == secrets
    assert "lunaos.example.com" not in "".join(variables.values())
    assert not [value for value in variables.values() if "#" in value or "$" in value]
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    mine = environment(**variables, LUNAOS_TRUSTED_PROXIES="1")
    done = subprocess.run(command, cwd=ROOT, env=mine, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_variables_of_the_example_are_ones_that_somebody_reads() -> None:
    listed = set(re.findall(r"^#?([A-Z_]+)=", (ROOT / "deploy" / "env.example").read_text(), re.MULTILINE))
    known = set(re.findall(r"^([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    read_by_compose = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "compose.yaml").read_text()))
    assert listed <= known | read_by_compose
