"""Files of a folder, as git would see them: without what .gitignore files leave out."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from pathspec import GitIgnoreSpec

from rag import paths, skipping
from rag.indexer import SourceFile

IGNORE = ".gitignore"
BYTES_A_CHARACTER = 4  # of UTF-8, at most: a larger file has too many characters whatever it holds
LONGEST_PATH = 512

Rules = list[tuple[str, GitIgnoreSpec]]


def walk(root: Path) -> Iterator[str]:
    """Paths below a folder, in order; links are not followed, since they may lead anywhere."""
    rules: dict[str, Rules] = {}
    for folder, folders, files in os.walk(root):
        here = "" if Path(folder) == root else f"{Path(folder).relative_to(root).as_posix()}/"
        above = rules.pop(here, [])
        mine = [*above, *_rules(Path(folder) / IGNORE, here)] if IGNORE in files else above
        folders[:] = sorted(name for name in folders if name != ".git" and not _ignored(mine, f"{here}{name}/"))
        rules |= {f"{here}{name}/": mine for name in folders}
        yield from (here + name for name in sorted(files) if not _ignored(mine, here + name))


def read(root: Path, found: Sequence[str]) -> Iterator[SourceFile]:
    """The files' contents, one after the other; what cannot be taken comes with the reason."""
    for path in found:
        try:
            yield _read(root / path, paths.clean(path))
        except (OSError, ValueError):
            yield SourceFile(path.encode(errors="replace").decode()[:LONGEST_PATH], None, "unreadable")


def _read(file: Path, path: str) -> SourceFile:
    if len(path) > LONGEST_PATH or file.is_symlink() or not file.is_file():
        return SourceFile(path[:LONGEST_PATH], None, "unreadable")
    if file.stat().st_size > BYTES_A_CHARACTER * skipping.LONGEST:
        return SourceFile(path, None, "oversized")
    return SourceFile(path, skipping.decode(file.read_bytes()))


def _rules(file: Path, folder: str) -> Rules:
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    return [(folder, GitIgnoreSpec.from_lines(lines))]


def _ignored(rules: Rules, path: str) -> bool:
    """The deepest .gitignore that says anything of a path decides (gitignore(5))."""
    for folder, spec in reversed(rules):
        verdict = spec.check_file(path.removeprefix(folder)).include
        if verdict is not None:
            return verdict
    return False
