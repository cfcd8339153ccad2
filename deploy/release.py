"""`python -m deploy.release NAME:TAG@sha256:DIGEST …`: pin deployed images to their digests.

`--list` prints the images that lack a digest: docs/operate/upgrade.md, "Release it".
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMPOSE, DOCKERFILE = "compose.yaml", "Dockerfile"
KUSTOMIZATION = "deploy/kubernetes/example/kustomization.yaml"
DIGEST = r"sha256:[0-9a-f]{64}"
GIVEN = re.compile(rf"(?P<name>[a-z0-9][a-z0-9._/:-]*?):(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]*)@(?P<digest>{DIGEST})")
PLACES = {  # how a file names images, with the digest as a group
    COMPOSE: re.compile(r"^ +image: (?:\$\{LUNAOS_IMAGE:-)?(?P<image>[^@\s}]+)(?P<digest>@[^\s}]+)?", re.MULTILINE),
    DOCKERFILE: re.compile(r"^ARG PYTHON=(?P<image>[^@\s]+)(?P<digest>@\S+)?", re.MULTILINE),
}
OWN = re.compile(
    r"  - name: lunaos\n    newName: (?P<name>\S+)\n    newTag: (?P<tag>\S+)\n(?:    digest: (?P<digest>\S+)\n)?"
)


class Refused(Exception):
    """Raised when an argument is not an image with a digest, or no file uses the image."""


def main(words: Sequence[str], root: Path = ROOT) -> int:
    """Write the digests; return 1 if an image still lacks one."""
    if list(words) == ["--list"]:
        sys.stdout.writelines(f"{image}\n" for image in missing(root))
        return 0
    try:
        for word in words:
            pin(word, root)
    except Refused as e:
        sys.stderr.write(f"{e}\n")
        return 1
    lacking = missing(root)
    for image in lacking:
        sys.stderr.write(f"{image} has no digest: docker buildx imagetools inspect {image}, then NAME:TAG@sha256:…\n")
    return 1 if lacking else 0


def pin(word: str, root: Path = ROOT) -> None:
    """Write an image's digest into all files that name it, or change none and raise Refused."""
    given = GIVEN.fullmatch(word)
    if not given:
        raise Refused(f"{word!r} is not NAME:TAG@sha256: and 64 hexadecimal digits")
    name, tag, digest = given["name"], given["tag"], given["digest"]
    # The platform's own image is pinned with its registry, which differs from one installation to the next.
    own = name.rpartition("/")[2] == "lunaos"
    changed = {COMPOSE: _pin_own(root, word), KUSTOMIZATION: _kustomize(root, name, tag, digest)} if own else {}
    changed |= {} if own else {file: _pin_in(root, file, f"{name}:{tag}", digest) for file in PLACES}
    if not any(text != (root / file).read_text() or digest in text for file, text in changed.items()):
        raise Refused(f"no deployed file uses {name}:{tag}; see python -m deploy.release --list")
    for file, text in changed.items():
        (root / file).write_text(text)


def missing(root: Path = ROOT) -> list[str]:
    """Return the images without a digest."""
    found = [(m["image"], m["digest"]) for file, place in PLACES.items() for m in place.finditer(_text(root, file))]
    found += [(f"{m['name']}:{m['tag']}", m["digest"]) for m in OWN.finditer(_text(root, KUSTOMIZATION))]
    return sorted({image for image, digest in found if not re.fullmatch(f"@?{DIGEST}", digest or "")})


def _text(root: Path, file: str) -> str:
    return (root / file).read_text()


def _pin_in(root: Path, file: str, image: str, digest: str) -> str:
    named = re.compile(rf"(?<=[ =]){re.escape(image)}(?:@{DIGEST})?(?=\s|$)")
    return named.sub(f"{image}@{digest}", _text(root, file))


def _pin_own(root: Path, word: str) -> str:
    return re.sub(r"\$\{LUNAOS_IMAGE:-[^}]+\}", f"${{LUNAOS_IMAGE:-{word}}}", _text(root, COMPOSE))


def _kustomize(root: Path, name: str, tag: str, digest: str) -> str:
    entry = f"  - name: lunaos\n    newName: {name}\n    newTag: {tag}\n    digest: {digest}\n"
    return OWN.sub(entry, _text(root, KUSTOMIZATION))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
