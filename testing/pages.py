"""MkDocs' hook of mkdocs.yml: the pages that lie above docs/."""

from typing import Any

from mkdocs.structure.files import File, Files

from testing.servers import ROOT

PAGES = {"README.md": "index.md", "CHANGELOG.md": "changelog.md"}


def on_files(files: Files, config: Any) -> Files:
    """Add them, with their links as they are from within docs/."""
    for source, page in PAGES.items():
        content = (ROOT / source).read_text().replace("](docs/", "](")
        files.append(File.generated(config, page, content=content))
    return files
