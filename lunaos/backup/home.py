"""What belongs into a backup of LUNAOS_HOME, the folder of `make up`, besides its database.

Not Valkey's data, which is of another moment than the database's; nor logs and weights, which are made anew.
"""

import shutil
from pathlib import Path

FOLDER = "home"
SECRET_FILES = ("secret-key", "stripe-secret")  # without the first nobody reads the users' provider keys again
FILES = (*SECRET_FILES, "stripe.json")
MAIL_FOLDER = "mail"


def save(home: Path, folder: Path) -> None:
    """Copy it into a backup that is being made; a file may still grow meanwhile."""
    copy = folder / FOLDER
    copy.mkdir(mode=0o700)
    for name in FILES:
        if (home / name).is_file():
            shutil.copy2(home / name, copy / name)
    if (home / MAIL_FOLDER).is_dir():
        shutil.copytree(home / MAIL_FOLDER, copy / MAIL_FOLDER)


def load(folder: Path, home: Path) -> None:
    """Put it back; each file is replaced at once, and mails that are not in the backup stay."""
    copy = folder / FOLDER
    for file in sorted(path for path in copy.rglob("*") if path.is_file()):
        target = home / file.relative_to(copy)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = target.with_name(f"{target.name}.new")
        shutil.copy2(file, new)
        new.replace(target)
