"""Files ignored by git are not indexed, with git installed or without."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from rag.indexing import folders

TREE = [
    *("a/keep.py", "a/b.py", "a/c/d.py", "build/o.c", "src/build/o.c", "src/a.c", "logs/.gitkeep", "logs/x/.gitkeep"),
    *("logs/x/y.log", "x/f.py", "x/y/g.py", "packages/app/a.js", "packages/app/node_modules/m/i.js"),
    *("node_modules/i.js", "other/o.js", "bom.py", "second.py", "n1.py", "nb.py"),
]
CASES = {
    "a folder that is included again": "build/\n!src/\n",
    "packages and their modules": "node_modules/\n/*\n!/packages/\n",
    "all of a folder but one": "a/**\n!a/keep.py\n",
    "empty folders that are kept": "logs/**\n!logs/**/\n!logs/**/.gitkeep\n",
    "folders within one": "/x/**/\n",
    "all but one suffix": "*\n!*/\n!*.c\n",
    "a byte order mark": "\ufeffbom.py\nsecond.py\n",
    "unusual line ends": "src/\r\nx\u2028y\nn1.\x0cpy\nother/\r\n",
    "classes": "n[[:digit:]].py\n",
    "invalid patterns": "!\n\\\na\\\n[z-a].py\nother/\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a work tree without commits."""
    root = tmp_path / "tree"
    for name in TREE:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x = 1\n")
    git(root, "init", "--quiet")
    return root


@pytest.fixture
def without_git(monkeypatch: Any) -> None:
    monkeypatch.setattr("rag.indexing.folders.shutil.which", lambda program: None)


def git(root: Path, *words: str) -> str:
    known = {"PATH": os.environ["PATH"], "HOME": str(root.parent)}
    done = subprocess.run(["git", *words], cwd=root, env=known, capture_output=True, check=True)
    return os.fsdecode(done.stdout)


def listed(root: Path) -> set[str]:
    return {name for name in git(root, "ls-files", "-co", "--exclude-standard", "-z").split("\0") if name}


@pytest.mark.parametrize("rules", CASES.values(), ids=CASES.keys())
def test_it_works(root: Path, without_git: None, rules: str) -> None:
    (root / ".gitignore").write_bytes(rules.encode())
    found = set(folders.walk(root))
    assert found == listed(root)
    assert 0 < len(found) <= len(TREE)


@pytest.mark.parametrize("asked", [True, False])
def test_rules_above_the_folder_apply(root: Path, asked: bool, request: Any) -> None:
    """The .gitignore above the folder and .git/info/exclude apply."""
    if not asked:
        request.getfixturevalue("without_git")
    (root / ".gitignore").write_text("node_modules/\n/packages/app/b.js\n")
    (root / ".git/info/exclude").write_text("*.secret\n")
    (root / "packages/app/b.js").write_text("x")
    (root / "packages/app/a.secret").write_text("x")
    assert list(folders.walk(root / "packages")) == ["app/a.js"]


def test_tracked_files_are_listed_in_spite_of_the_rules(root: Path) -> None:
    (root / ".gitignore").write_text("src/\n")
    git(root, "add", "--force", "src/a.c", "x/f.py")
    (root / "x/f.py").unlink()
    found = set(folders.walk(root))
    assert "src/a.c" in found
    assert not found & {"src/build/o.c", "x/f.py"}


@pytest.mark.parametrize("asked", [True, False])
def test_a_nested_repository_has_its_own_rules(root: Path, asked: bool, request: Any) -> None:
    """The nested `.git` may be a file."""
    if not asked:
        request.getfixturevalue("without_git")
    git(root / "other", "init", "--quiet", "--separate-git-dir", str(root.parent / "elsewhere"))
    (root / "other/.gitignore").write_text("p.js\n")
    (root / "other/p.js").write_text("x")
    assert {name for name in folders.walk(root) if "other" in name} == {"other/.gitignore", "other/o.js"}


def test_a_folder_replaced_with_a_link_is_not_followed(root: Path) -> None:
    git(root, "add", "x")
    (root / "x/f.py").unlink()
    (root / "x/y/g.py").unlink()
    (root / "x/y").rmdir()
    (root / "x").rmdir()
    (root.parent / "f.py").write_text("secret = 1\n")
    (root / "x").symlink_to(root.parent)
    assert not any(name.startswith("x/") for name in folders.walk(root))


def test_programs_in_the_git_configuration_are_not_run(root: Path) -> None:
    hook = root.parent / "hook"
    hook.write_text(f"#!/bin/sh\ntouch {root.parent}/was-run\n")
    hook.chmod(0o755)
    git(root, "config", "core.fsmonitor", str(hook))
    git(root, "config", "core.hooksPath", str(root.parent))
    assert len(list(folders.walk(root))) == len(TREE)
    assert not (root.parent / "was-run").exists()


def test_ignore_files_that_are_no_regular_files_have_no_rules(root: Path, monkeypatch: Any) -> None:
    """A pipe without a writer would block, in git too."""
    monkeypatch.setattr(folders, "GIT_TIMEOUT_S", 0.5)
    os.mkfifo(root / ".gitignore")
    (root / "a/.gitignore").symlink_to("missing")
    (root / "x/.gitignore").mkdir()
    assert set(TREE) <= set(folders.walk(root))
