"""Backup and restore of the files in LUNAOS_HOME, the folder of `make up`."""

import shutil
from pathlib import Path

# Valkey's data is left out, because it is of another moment than the database; so are logs and weights.
FOLDER = "home"
SECRET_FILES = ("secret-key", "stripe-secret")  # without the first, the users' provider keys are unreadable
FILES = (*SECRET_FILES, "stripe.json")
MAIL_FOLDER = "mail"


def save(home: Path, folder: Path) -> None:
    copy = folder / FOLDER
    copy.mkdir(mode=0o700)
    for name in FILES:
        if (home / name).is_file():
            shutil.copy2(home / name, copy / name)
    if (home / MAIL_FOLDER).is_dir():
        # A mail file may grow meanwhile.
        shutil.copytree(home / MAIL_FOLDER, copy / MAIL_FOLDER)


def load(folder: Path, home: Path) -> None:
    """Restore the files, each atomically; mails that are not in the backup stay."""
    copy = folder / FOLDER
    for file in sorted(path for path in copy.rglob("*") if path.is_file()):
        target = home / file.relative_to(copy)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = target.with_name(f"{target.name}.new")
        shutil.copy2(file, new)
        new.replace(target)
