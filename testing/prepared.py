"""A template of a PostgreSQL folder with all tables and the catalogue."""

import os
import shutil
import subprocess
from pathlib import Path

from lunaos.embedded.home import Home


# Creating such a folder takes ten seconds. The template lies in the home of `python -m lunaos.embedded run`, which
# deletes it at the end.
def bring_to(home: Home) -> bool:
    """Copy the template to a new home; return False if there is no template."""
    kept = _folder()
    if kept.exists():
        _copy(kept, home.path / "postgres")
    return kept.exists()


def keep(home: Home) -> None:
    """Create the template from a home with a stopped PostgreSQL."""
    kept, new = _folder(), _folder().with_suffix(f".{os.getpid()}")
    _copy(home.path / "postgres", new)
    try:
        new.rename(kept)
    except OSError:
        # Another test process was faster.
        shutil.rmtree(new)


def _folder() -> Path:
    return Path(os.environ["LUNAOS_HOME"]) / "prepared"


def _copy(source: Path, target: Path) -> None:
    # With owners, since PostgreSQL does not run as root.
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)
