"""The files of a folder that git does not ignore."""

# `git ls-files` lists them where git is installed and the folder is a work tree. Elsewhere rag.indexing.gitignore
# applies the rules: a folder need not be a work tree, and the image has no git.

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from lunaos.infra import visible_text
from rag.indexing import decoding, gitignore, paths, skip_rules
from rag.indexing.indexer import SourceFile, apply_skip_rules

MAX_BYTES_PER_CHARACTER = 4  # of UTF-8
MAX_PATH_LENGTH = 512
# The folder's git configuration is untrusted: git must run no program that it names, and must not change the folder.
LIST_ARGUMENTS = (
    *("--no-optional-locks", "-c", "core.fsmonitor=false", "-c", "safe.directory=*"),
    *("ls-files", "--cached", "--others", "--exclude-standard", "-z"),
)
GIT_TIMEOUT_S = 120  # a .gitignore may be a pipe without a writer
GIT_VARIABLES = ("PATH", "HOME", "XDG_CONFIG_HOME")  # others, such as GIT_DIR, would point git elsewhere


def walk(root: Path) -> Iterator[str]:
    """Yield the relative paths below a folder, in order; links are not followed."""
    if listed := _list_by_git(root):
        for name in listed:
            yield from _existing(root, name)
    else:
        yield from _list_by_rules(root)


def read_files(root: Path, found: Sequence[str], *, force: bool = False) -> Iterator[SourceFile]:
    """Yield the files one at a time; a file that is skipped or cannot be read has a reason instead."""
    for path in found:
        try:
            yield apply_skip_rules(_read_file(root / path, paths.clean(path)), force=force)
        except ValueError:
            yield SourceFile(visible_text.escape_invisible(path)[:MAX_PATH_LENGTH], None, skip_rules.BAD_PATH)
        except OSError:
            yield SourceFile(path[:MAX_PATH_LENGTH], None, "unreadable")


def _read_file(file: Path, path: str) -> SourceFile:
    if len(path) > MAX_PATH_LENGTH or file.is_symlink() or not file.is_file():
        return SourceFile(path[:MAX_PATH_LENGTH], None, "unreadable")
    if file.stat().st_size > MAX_BYTES_PER_CHARACTER * skip_rules.MAX_CHARACTERS:
        return SourceFile(path, None, "oversized")
    return SourceFile(path, decoding.decode(file.read_bytes()))


def _list_by_git(root: Path) -> list[str]:
    # Return the paths that git lists; empty without git or outside of a work tree.
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
    # Yield an existing file, or the files of a repository nested in this one.
    path = root / name
    if path.parent.resolve() != root.resolve() / Path(name).parent:  # a folder was replaced with a link
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
