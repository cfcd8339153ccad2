"""deploy.release pins images to digests; other dependencies are pinned by version and hash."""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from deploy import release
from lunaos import __version__
from testing import node
from testing.servers import ROOT

OWN = "registry.luna.test:5000/lunaos:0.2.0"


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Copy the files that deploy.release changes."""
    for file in (release.COMPOSE, release.DOCKERFILE, release.KUSTOMIZATION):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    return tmp_path


def everything(checkout: Path) -> list[str]:
    others = [image for image in release.missing(checkout) if "lunaos" not in image]
    return [f"{image}@{digest(number)}" for number, image in enumerate([*others, OWN])]


def test_it_works(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = everything(checkout)
    assert release.main(given, checkout) == 0, capsys.readouterr().err
    services = yaml.safe_load((checkout / release.COMPOSE).read_text())["services"]
    images = {service["image"] for service in services.values()}
    assert images == {image for image in images if re.search(rf"@{release.DIGEST}\}}?$", image)}
    assert f"${{LUNAOS_IMAGE:-{given[-1]}}}" in images and set(given[:-1]) <= images
    (own,) = yaml.safe_load((checkout / release.KUSTOMIZATION).read_text())["images"]
    name, tag = OWN.rsplit(":", 1)
    assert own == {"name": "lunaos", "newName": name, "newTag": tag, "digest": given[-1].partition("@")[2]}
    assert release.missing(checkout) == []


def test_a_newer_digest_replaces_the_older(checkout: Path) -> None:
    assert release.main(everything(checkout), checkout) == 0
    python = re.search(r"ARG PYTHON=([^@]+)", (checkout / release.DOCKERFILE).read_text())
    assert python
    again = [f"{OWN}@{digest(77)}", f"{python[1]}@{digest(78)}"]
    assert release.main(again, checkout) == release.main(again, checkout) == 0
    text = "".join((checkout / file).read_text() for file in (release.COMPOSE, release.KUSTOMIZATION))
    assert text.count(digest(77)) == 2
    assert f"{python[1]}@{digest(78)}\n" in (checkout / release.DOCKERFILE).read_text()


def test_a_release_without_a_digest_fails(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = everything(checkout)
    assert len(given) > 2
    assert release.main(given[1:], checkout) == 1
    lacking = given[0].partition("@")[0]
    assert capsys.readouterr().err.startswith(f"{lacking} has no digest: docker buildx imagetools inspect {lacking}")
    assert release.main(["--list"], checkout) == 0
    assert capsys.readouterr().out == f"{lacking}\n"


@pytest.mark.parametrize(
    "word",
    [
        "caddy:2.11.7-alpine",
        f"caddy@{digest(1)}",
        "caddy:2.11.7-alpine@sha256:abc",
        f"caddy:2.11.7-alpine@{digest(1)[:-1]}G",
        f"caddy:2.11.7-alpine@{digest(1)} x",
        f"nginx:1.29@{digest(1)}",
        f"caddy:2.11@{digest(1)}",
    ],
)
def test_what_is_no_image_of_ours_is_refused(checkout: Path, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = (checkout / release.COMPOSE).read_text()
    assert release.main([word], checkout) == 1
    assert word.partition("@")[0] in capsys.readouterr().err
    assert (checkout / release.COMPOSE).read_text() == before


def test_nothing_that_is_deployed_is_the_latest_of_anything() -> None:
    files = [ROOT / "compose.yaml", ROOT / "Dockerfile", *(ROOT / "deploy" / "kubernetes").rglob("*.yaml")]
    images = [
        image
        for file in files
        for image in re.findall(r"(?:^\s*(?:- )?image: |^ARG PYTHON=)(\S+)", file.read_text(), re.MULTILINE)
    ]
    assert len(images) > 15
    for image in images:
        tag = image.partition("@")[0].removesuffix("}").rpartition(":")[2]
        assert re.search(r"\d", tag) and "latest" not in image, image
    tags = {tag for file in files for tag in re.findall(r"(?:image: lunaos|newTag): ?(\S+)", file.read_text())}
    assert tags == {__version__}
    assert f"{{LUNAOS_IMAGE:-lunaos:{__version__}}}" in (ROOT / "compose.yaml").read_text()


def test_every_package_is_installed_by_its_hash() -> None:
    for name in ("requirements.txt", *(f"requirements/{each}.txt" for each in ("dev", "ci", "embedded", "weights"))):
        text = (ROOT / name).read_text()
        pins = re.split(r"\n(?=\S)", text.strip())
        assert all(re.match(r"[a-z0-9._-]+(\[[a-z,-]+\])?==\S+( ; .+)? \\\n    --hash=sha256:", pin) for pin in pins)
        assert "://" not in text and "index" not in re.sub(r"^\S+|#.*", "", text, flags=re.MULTILINE)
    for file in ("Makefile", "deploy/image/build"):
        commands = re.findall(r"pip install[^\n]*(?:\\\n[^\n]*)*", (ROOT / file).read_text())
        assert commands and all("--require-hashes" in command for command in commands)


def test_every_package_of_npm_is_installed_by_its_hash() -> None:
    for file in (ROOT / "lunaos").rglob("package.json"):
        lock = json.loads(file.with_name("package-lock.json").read_text())["packages"]
        assert lock[""]["dependencies"] == json.loads(file.read_text())["dependencies"]
        assert all(each["integrity"].startswith("sha512-") for name, each in lock.items() if name)
        assert not any("resolved" in each for each in lock.values())  # no registry's address
    assert "ci" in node.INSTALL


def test_grafana_has_no_password_that_everybody_knows() -> None:
    grafana = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["grafana"]
    assert grafana["environment"]["GF_SECURITY_ADMIN_PASSWORD"].startswith("${GRAFANA_PASSWORD:?")


def test_valkey_asks_for_a_password() -> None:
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
    for name, service in compose["services"].items():
        if "valkey" in service.get("image", ""):
            words = service["command"]
            assert words[words.index("--requirepass") + 1].startswith("${VALKEY_PASSWORD:?"), name
            assert service["environment"]["REDISCLI_AUTH"].startswith("${VALKEY_PASSWORD:?")
    urls = re.findall(r"REDIS_URL: (\S+) .*@valkey", (ROOT / "compose.yaml").read_text())
    assert urls == ["redis://:${VALKEY_PASSWORD:?make"] * 2  # of counters and the queue, and of event logs
