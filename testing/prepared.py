"""A PostgreSQL folder with all tables and the catalogue, which takes ten seconds to make: once for all test processes.

It lies beside the servers that the tests run on (`python -m lunaos.embedded run`), and goes with them.
"""

import os
import shutil
import subprocess
from pathlib import Path

from lunaos.embedded.home import Home


def bring_to(home: Home) -> bool:
    """Copy it to where a new home has its own; False where nobody has made one."""
    kept = _folder()
    if kept.exists():
        _copy(kept, home.path / "postgres")
    return kept.exists()


def keep(home: Home) -> None:
    """Make it of a home whose PostgreSQL has been stopped in order, unless somebody was quicker."""
    kept, new = _folder(), _folder().with_suffix(f".{os.getpid()}")
    _copy(home.path / "postgres", new)
    try:
        new.rename(kept)
    except OSError:
        shutil.rmtree(new)


def _folder() -> Path:
    return Path(os.environ["LUNAOS_HOME"]) / "prepared"


def _copy(source: Path, target: Path) -> None:
    """With owners: PostgreSQL does not run as root."""
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)
