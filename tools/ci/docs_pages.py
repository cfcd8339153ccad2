"""Hook of mkdocs.yml: the pages above docs/, and the marks of tested snippets."""

import re
from typing import Any

from mkdocs.structure.files import File, Files

from testing.servers import ROOT

PAGES = {"README.md": "readme.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
RUN = re.compile(r"^(```[a-z]+) run$", re.MULTILINE)
LINK = re.compile(r"\[([^\]]+)\]\(([^)#]+)(#[^)]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages, with links relative to docs/."""
    for source, page in PAGES.items():
        content = LINK.sub(_within_docs, (ROOT / source).read_text())
        files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown: str, **others: Any) -> str:
    # MkDocs does not read a word behind a fence's language.
    return RUN.sub(r"\1", markdown)


def _within_docs(link: re.Match[str]) -> str:
    text, target, anchor = link[1], link[2], link[3] or ""
    if "://" in target:
        return link[0]
    if target in PAGES:
        return f"[{text}]({PAGES[target]}{anchor})"
    if target.startswith("docs/"):
        return f"[{text}]({target.removeprefix('docs/')}{anchor})"
    # A file that is not a page: a link would be broken.
    return f"`{target}`"
