"""Files of a folder, as git sees them: git itself is asked where it is there, which knows best.

Elsewhere its rules are read here (rag.indexing.gitignore): a folder need not be of git, and the image has no git.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from rag.indexing import gitignore, paths, skip_rules
from rag.indexing.indexer import SourceFile

MAX_BYTES_PER_CHARACTER = 4  # of UTF-8, at most: a larger file has too many characters whatever it holds
MAX_PATH_LENGTH = 512
# The folder's own configuration may be a stranger's: it names no program that is run, and nothing in it is changed.
LIST_ARGUMENTS = (
    *("--no-optional-locks", "-c", "core.fsmonitor=false", "-c", "safe.directory=*"),
    *("ls-files", "--cached", "--others", "--exclude-standard", "-z"),
)
GIT_TIMEOUT_S = 120  # a .gitignore may be a pipe that nobody fills
GIT_VARIABLES = ("PATH", "HOME", "XDG_CONFIG_HOME")  # variables; others, such as GIT_DIR, would lead it elsewhere


def walk(root: Path) -> Iterator[str]:
    """Paths below a folder, in order; links are not followed, since they may lead anywhere."""
    if listed := _list_by_git(root):
        for name in listed:
            yield from _existing(root, name)
    else:
        yield from _list_by_rules(root)


def read_files(root: Path, found: Sequence[str]) -> Iterator[SourceFile]:
    """The files' contents, one after the other; what cannot be taken comes with the reason."""
    for path in found:
        try:
            yield _read_file(root / path, paths.clean(path))
        except (OSError, ValueError):
            yield SourceFile(path.encode(errors="replace").decode()[:MAX_PATH_LENGTH], None, "unreadable")


def _read_file(file: Path, path: str) -> SourceFile:
    if len(path) > MAX_PATH_LENGTH or file.is_symlink() or not file.is_file():
        return SourceFile(path[:MAX_PATH_LENGTH], None, "unreadable")
    if file.stat().st_size > MAX_BYTES_PER_CHARACTER * skip_rules.MAX_CHARACTERS:
        return SourceFile(path, None, "oversized")
    return SourceFile(path, skip_rules.decode(file.read_bytes()))


def _list_by_git(root: Path) -> list[str]:
    """What git would keep; empty where there is no git, or the folder is not of any."""
    program = shutil.which("git")
    if program is None:
        return []
    variables = {name: os.environ[name] for name in GIT_VARIABLES if name in os.environ}
    try:
        done = subprocess.run(
            [program, *LIST_ARGUMENTS],
            cwd=root,
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=GIT_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return sorted({os.fsdecode(name) for name in done.stdout.split(b"\0") if name})


def _existing(root: Path, name: str) -> Iterator[str]:
    """The file, where it still is; the files of a repository inside of this one."""
    path = root / name
    if path.parent.resolve() != root.resolve() / Path(name).parent:  # a folder that has become a link
        return
    if path.is_symlink() or path.is_file():
        yield name
    elif (path / ".git").exists():
        yield from (f"{name.rstrip('/')}/{each}" for each in walk(path))


def _list_by_rules(root: Path) -> Iterator[str]:
    root, rules = root.resolve(), {"": gitignore.rules_above(root.resolve())}
    for folder, folders, files in os.walk(root):
        here = "" if Path(folder) == root else f"{Path(folder).relative_to(root).as_posix()}/"
        rules_here = rules.pop(here).with_folder(Path(folder))
        folders[:] = sorted(name for name in folders if name != ".git" and not rules_here.ignores(f"{folder}/{name}/"))
        rules |= {f"{here}{name}/": rules_here for name in folders}
        yield from (
            here + name for name in sorted(files) if name != ".git" and not rules_here.ignores(f"{folder}/{name}")
        )
