"""Validation of file paths and repository names."""

# A path is a name inside a repository and never opens a file here. Absolute and climbing paths are refused all the
# same, since clients may open them.

import re
import unicodedata

# Format characters (Cf) are no control characters: names of files have joiners in some scripts and in emoji.
CONTROL = {"Cc", "Cs", "Zl", "Zp"}
DRIVE = re.compile(r"[A-Za-z]:")


def clean(path: str) -> str:
    """Return the path as stored, such as `src/app.py`, without a leading `./`.

    Raises:
        ValueError: the path is absolute, or has a part that is empty, `.` or `..`, or a control character.
    """
    path = path.removeprefix("./")
    parts = re.split(r"[/\\]", path)
    if not path or path.startswith(("/", "\\")) or DRIVE.match(path):
        raise ValueError("The path must be relative.")
    if any(part in ("", ".", "..") for part in parts):
        raise ValueError("The path may not hold empty parts, `.` or `..`.")
    if any(unicodedata.category(character) in CONTROL for character in path):
        raise ValueError("The path may not hold control characters.")
    return path


def clean_name(name: str) -> str:
    """Return the repository's name as stored; slashes are allowed, as in `acme/api`.

    Raises:
        ValueError: no URL can contain the name: a part is empty, `.` or `..`, or a character is a control character.
    """
    if any(part.strip() in ("", ".", "..") for part in name.split("/")) or not name.isprintable():
        raise ValueError("The name may not hold control characters, empty parts, `.` or `..`.")
    return name
