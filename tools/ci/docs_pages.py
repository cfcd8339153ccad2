"""MkDocs' hook of mkdocs.yml: the pages that lie above docs/."""

import re
from typing import Any

from mkdocs.structure.files import File, Files

from testing.servers import ROOT

PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
LINK = re.compile(r"\[([^\]]+)\]\(([^)#]+)(#[^)]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add them, with their links as they are from within docs/."""
    for source, page in PAGES.items():
        content = LINK.sub(_within_docs, (ROOT / source).read_text())
        files.append(File.generated(config, page, content=content))
    return files


def _within_docs(link: re.Match[str]) -> str:
    """Return a link to a page as it is from within docs/, and the name alone of a file that is no page."""
    text, target, anchor = link[1], link[2], link[3] or ""
    if "://" in target:
        return link[0]
    if target in PAGES:
        return f"[{text}]({PAGES[target]}{anchor})"
    if target.startswith("docs/"):
        return f"[{text}]({target.removeprefix('docs/')}{anchor})"
    return f"`{target}`"
