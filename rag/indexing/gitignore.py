"""Reads .gitignore files as git does (gitignore(5)): the last pattern that matches a path itself decides.

`pathspec` understands a pattern, but takes one that matches a folder for all that lies in it as well; for git a folder
that is left out is not looked into, and a pattern says nothing about the contents of one that is not.
"""

import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

IGNORE_FILE = ".gitignore"
EXCLUDE_FILE = Path(".git/info/exclude")
MAX_IGNORE_FILE_BYTES = 1_000_000  # bytes
ANYTHING, ANY_FOLDER = ".", "(?P<ps_d>/)"  # what `pathspec` makes of `*` and `*/`
POSIX_CLASSES = {
    "alpha": "a-zA-Z",
    "digit": "0-9",
    "alnum": "a-zA-Z0-9",
    "lower": "a-z",
    "upper": "A-Z",
    "xdigit": "0-9a-fA-F",
    "space": " \t",
}
POSIX_CLASS = re.compile(r"\[:(" + "|".join(POSIX_CLASSES) + r"):\]")


@dataclass(frozen=True, slots=True)
class Rule:
    """A line of a .gitignore.

    Args:
        folder: in which the file lies, with a slash at the end.
        pattern: as `pathspec` understands it.
        line: as it stands there.
    """

    folder: str
    pattern: re.Pattern[str]
    ignores: bool
    line: str

    def matches(self, path: str) -> bool:
        """Whether it matches a path itself, and not what lies above it.

        Args:
            path: below the folder; that of a folder ends with a slash.
        """
        match = self.pattern.search(path)
        if match is None or self.pattern.pattern == ANYTHING:
            return match is not None
        if self.pattern.pattern == ANY_FOLDER:
            return path.endswith("/")
        if self.line.endswith(("/**", "**/")):  # all, or all folders, inside of one, not itself
            return match.end() < len(path) and path.endswith("/" * self.line.endswith("/"))
        return match.end() == len(path)


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds in a folder, the strongest last."""

    rules: tuple[Rule, ...] = ()

    def with_folder(self, folder: Path) -> "Rules":
        """With those of a folder's own .gitignore."""
        return Rules((*self.rules, *_read_rules(folder / IGNORE_FILE, folder)))

    def ignores(self, path: str) -> bool:
        """Whether a path is left out; its folder is not, or nobody would ask.

        Args:
            path: from the root of the disk; that of a folder ends with a slash.
        """
        meaning = (rule for rule in reversed(self.rules) if rule.matches(path[len(rule.folder) :]))
        return (last := next(meaning, None)) is not None and last.ignores


def rules_above(root: Path) -> Rules:
    """What a folder's repository says of it: its own list, and the .gitignore files above the folder."""
    folders = [root, *root.parents]
    top = next((n for n, folder in enumerate(folders) if (folder / ".git").exists()), None)
    if top is None:
        return Rules()
    rules = Rules(tuple(_read_rules(folders[top] / EXCLUDE_FILE, folders[top])))
    for folder in reversed(folders[1 : top + 1]):
        rules = rules.with_folder(folder)
    return rules


def _read_rules(file: Path, folder: Path) -> Iterator[Rule]:
    """Its lines, without those that nobody understands; nothing where it is no file, but a link or a pipe."""
    try:
        status = file.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_IGNORE_FILE_BYTES:
            return
        lines = file.read_bytes().decode("utf-8-sig", errors="surrogateescape").split("\n")
    except OSError:
        return
    for line in lines:
        try:
            pattern = GitIgnoreSpecPattern(
                POSIX_CLASS.sub(lambda match: POSIX_CLASSES[match[1]], line.removesuffix("\r"))
            )
        except (ValueError, re.error):
            continue
        if pattern.regex is not None:
            yield Rule(f"{folder}/", pattern.regex, bool(pattern.include), line.removesuffix("\r").rstrip(" "))
