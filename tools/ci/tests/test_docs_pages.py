"""`make docs` builds every page and fails on broken links."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from testing.servers import ROOT

pytest.importorskip("mkdocs", reason="see requirements/ci.in")


@pytest.mark.parametrize(("links", "code"), [(["performance.md"], 0), (["nowhere.md", "performance.md#nowhere"], 1)])
def test_it_works(tmp_path: Path, links: list[str], code: int) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    for name in ("testing", "tools", "README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)  # links of its own would be followed
    (tmp_path / "docs" / "more.md").write_text("".join(f"[More]({link})\n" for link in links))
    command = [sys.executable, "-m", "mkdocs", "build", "-f", "mkdocs.yml", "-d", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    # Strict mode reports each broken link.
    assert ("'nowhere.md'" in done.stderr, "#nowhere" in done.stderr) == (code == 1, code == 1), done.stderr
    if code == 0:
        pages = {path.relative_to(tmp_path / "site").as_posix() for path in tmp_path.glob("site/**/*.html")}
        assert {
            "index.html",
            "readme.html",
            "start.html",
            "operate/index.html",
            "adr/index.html",
            "changelog.html",
            "contributing.html",
        } <= pages


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_a_link_of_a_page_leads_to_a_file(page: str) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", (ROOT / page).read_text())
    gone = [link for link in links if "://" not in link and not (ROOT / link).exists()]
    assert gone == []
