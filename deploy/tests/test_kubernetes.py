"""The Kubernetes base: valid against Kubernetes' own schemas, and as careful as the image allows."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from lunaos import processes
from testing.container import HEALTH, USER
from testing.servers import ROOT

kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="see requirements/ci.in")
FOLDER = ROOT / "deploy" / "kubernetes"
VERSIONS = ("1.30", "1.37")  # the oldest that knows all of it, and the newest whose schemas are at hand


def documents(folder: Path) -> list[dict[str, Any]]:
    """All objects of a folder's files, as `resources` names them."""
    names = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    files = [folder / name for name in names if (folder / name).is_file()]
    return [document for file in files for document in yaml.safe_load_all(file.read_text())]


OBJECTS = {(each["kind"], each["metadata"]["name"]): each for each in documents(FOLDER / "base")}
PODS = {name: each["spec"]["template"] for (kind, name), each in OBJECTS.items() if kind in ("Deployment", "Job")}
PODS["lunaos-backup"] = OBJECTS["CronJob", "lunaos-backup"]["spec"]["jobTemplate"]["spec"]["template"]
CONTAINERS = [
    each for pod in PODS.values() for kind in ("initContainers", "containers") for each in pod["spec"].get(kind, [])
]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("folder", ["base", "example"])
def test_it_works(folder: str, version: str) -> None:
    for document in documents(FOLDER / folder):
        kubernetes_validate.validate(document, version, strict=True)


def test_the_schemas_find_something() -> None:
    document = documents(FOLDER / "base")[0] | {"speck": {}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, VERSIONS[0], strict=True)


def test_every_file_is_named() -> None:
    for folder in ("base", "example"):
        kustomization = yaml.safe_load((FOLDER / folder / "kustomization.yaml").read_text())
        named = {*kustomization["resources"], "kustomization.yaml"}
        assert {path.name for path in (FOLDER / folder).iterdir()} == named - {"../base"}


def test_kustomize_makes_the_example() -> None:
    kubectl = shutil.which("kubectl")
    if not kubectl:
        pytest.skip("kubectl is not installed; Debian 12's is too old for this")
    done = subprocess.run([kubectl, "kustomize", FOLDER / "example"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    made = list(yaml.safe_load_all(done.stdout))
    assert len(made) == len(OBJECTS) + 4  # the settings, an ingress for each length of bodies, one without a log
    for document in made:
        kubernetes_validate.validate(document, VERSIONS[-1], strict=True)
    text = done.stdout
    assert text.count("image: registry.example.com/lunaos:") == len(CONTAINERS) and "image: lunaos" not in text
    assert 'LUNAOS_TRUSTED_PROXIES: "1"' in text and 'EMBEDDINGS_DIMENSION: "1536"' in text


def test_each_role_has_pods() -> None:
    assert {pod["spec"]["containers"][0]["args"][0] for pod in PODS.values()} == {*processes.ROLES, "manage"}


def test_backups_outlive_their_pods() -> None:
    spec = PODS["lunaos-backup"]["spec"]
    assert spec["containers"][0]["args"][:2] == ["manage", "backup"]
    claims = {each["name"]: each.get("persistentVolumeClaim", {}).get("claimName") for each in spec["volumes"]}
    assert ("PersistentVolumeClaim", claims["state"]) in OBJECTS


def test_beat_is_never_there_twice() -> None:
    spec = OBJECTS["Deployment", "lunaos-beat"]["spec"]
    assert (spec["replicas"], spec["strategy"]["type"]) == (1, "Recreate")


def test_no_process_starts_before_the_migration() -> None:
    for name, pod in PODS.items():
        waits = [each["args"] for each in pod["spec"].get("initContainers", [])]
        assert waits == ([] if name in ("lunaos-migrate", "lunaos-backup") else [["manage", "migrate", "--check"]])


@pytest.mark.parametrize("name", sorted(PODS))
def test_a_pod_can_do_no_more_than_it_must(name: str) -> None:
    spec = PODS[name]["spec"]
    assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["runAsUser"] == int(USER)
    assert spec["automountServiceAccountToken"] is False
    for container in (*spec.get("initContainers", ()), *spec["containers"]):
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] and context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/tmp", "/var/lib/lunaos"}
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert container["resources"]["limits"].keys() == {"memory"}


@pytest.mark.parametrize("role", [role for role in processes.ROLES if role != "migrate"])
def test_each_process_is_watched(role: str) -> None:
    (container,) = PODS[f"lunaos-{role}"]["spec"]["containers"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        if role == "web":
            assert container[probe]["httpGet"]["port"] == "http"
        else:
            assert container[probe]["exec"]["command"][:3] == [
                "python",
                "-S",
                HEALTH[2].removeprefix("/opt/lunaos/app/"),
            ]
    if role != "web":  # a broker's outage has none of them started again
        assert int(container["livenessProbe"]["exec"]["command"][3]) >= 600


def test_what_is_asked_to_stop_has_the_time_that_it_gives_its_runs() -> None:
    kustomization = yaml.safe_load((FOLDER / "base" / "kustomization.yaml").read_text())
    settings = dict(line.split("=", 1) for line in kustomization["configMapGenerator"][0]["literals"])
    for pod in PODS.values():
        assert pod["spec"]["terminationGracePeriodSeconds"] >= int(settings["LUNAOS_STOP_GRACE_S"]) + 15
