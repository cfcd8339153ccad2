"""Read .gitignore files as git does (gitignore(5)): the last pattern that matches the path itself decides."""

# `pathspec` compiles a pattern, but lets a pattern for a folder match the folder's contents too. Git does not descend
# into an ignored folder, and a pattern for a folder does not match the contents of a folder that is not ignored.

import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

IGNORE_FILE = ".gitignore"
EXCLUDE_FILE = Path(".git/info/exclude")
MAX_IGNORE_FILE_BYTES = 1_000_000
ANYTHING, ANY_FOLDER = ".", "(?P<ps_d>/)"  # `pathspec`'s regular expressions of `*` and `*/`
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
    """A line of a .gitignore file."""

    # `ignores`: False for a line that begins with `!`.

    folder: str
    pattern: re.Pattern[str]
    ignores: bool
    line: str

    def matches(self, path: str) -> bool:
        """Return whether the pattern matches the path itself, not only a folder above it."""
        match = self.pattern.search(path)
        if match is None or self.pattern.pattern == ANYTHING:
            return match is not None
        if self.pattern.pattern == ANY_FOLDER:
            return path.endswith("/")
        if self.line.endswith(("/**", "**/")):  # matches what is inside of a folder, not the folder itself
            return match.end() < len(path) and path.endswith("/" * self.line.endswith("/"))
        return match.end() == len(path)


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules that apply in a folder, in ascending precedence."""

    rules: tuple[Rule, ...] = ()

    def with_folder(self, folder: Path) -> "Rules":
        """Return these rules with the rules of the folder's own .gitignore."""
        return Rules((*self.rules, *_read_rules(folder / IGNORE_FILE, folder)))

    def ignores(self, path: str) -> bool:
        """Return whether a path is ignored."""
        # The caller does not descend into ignored folders.
        meaning = (rule for rule in reversed(self.rules) if rule.matches(path[len(rule.folder) :]))
        return (last := next(meaning, None)) is not None and last.ignores


def rules_above(root: Path) -> Rules:
    """Return the rules from .git/info/exclude and from the .gitignore files above a folder."""
    folders = [root, *root.parents]
    top = next((n for n, folder in enumerate(folders) if (folder / ".git").exists()), None)
    if top is None:
        return Rules()
    rules = Rules(tuple(_read_rules(folders[top] / EXCLUDE_FILE, folders[top])))
    for folder in reversed(folders[1 : top + 1]):
        rules = rules.with_folder(folder)
    return rules


def _read_rules(file: Path, folder: Path) -> Iterator[Rule]:
    # Yield the valid rules of a file; none of a link, a pipe or a file that is too large.
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
