"""Which paths and names are taken.

A path is a name inside a repository and never touches a disk; what looks like a way out of one is refused all the same,
since others will read it.
"""

import re

DRIVE = re.compile(r"[A-Za-z]:")


def clean(path: str) -> str:
    """The path as it is stored, `src/app.py`; a leading `./` is dropped.

    Raises:
        ValueError: it is absolute, climbs, has an empty part or a control character.
    """
    path = path.removeprefix("./")
    parts = re.split(r"[/\\]", path)
    if not path or path.startswith(("/", "\\")) or DRIVE.match(path):
        raise ValueError("The path must be relative.")
    if any(part in ("", ".", "..") for part in parts):
        raise ValueError("The path may not hold empty parts, `.` or `..`.")
    if not path.isprintable():
        raise ValueError("The path may not hold control characters.")
    return path


def clean_name(name: str) -> str:
    """The repository's name as it is stored; slashes are welcome, as in `acme/api`.

    Raises:
        ValueError: no URL could name it: a `.` or `..`, an empty part, a control character.
    """
    if any(part.strip() in ("", ".", "..") for part in name.split("/")) or not name.isprintable():
        raise ValueError("The name may not hold control characters, empty parts, `.` or `..`.")
    return name
