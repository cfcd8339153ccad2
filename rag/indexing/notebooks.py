"""Jupyter notebooks as text: the cells in their order, without pictures."""

import json
from typing import Any

Json = dict[str, Any]
MAX_OUTPUT_CHARACTERS = 500  # of a cell: enough to find it by what it printed
CODE = "code"


def as_markdown(content: str) -> str | None:
    """Return a notebook (nbformat 3 or 4) as Markdown with a section for each cell; None if it is none."""
    try:
        notebook = json.loads(content)  # takes NaN, which Python writes into outputs
        cells = notebook["cells"] if "cells" in notebook else notebook["worksheets"][0]["cells"]
        language = _language(notebook)
        text = "\n\n".join(_section(number, cell, language) for number, cell in enumerate(cells, 1)) + "\n"
        return text.encode(errors="replace").decode()  # an escape may be half of a surrogate pair
    except (ValueError, RecursionError, KeyError, IndexError, TypeError, AttributeError):
        return None


def _language(notebook: Json) -> str:
    facts = notebook.get("metadata") or {}
    return str(facts.get("language_info", {}).get("name") or facts.get("kernelspec", {}).get("language") or "python")


def _section(number: int, cell: Json, language: str) -> str:
    # The heading becomes the symbol of the cell's chunk.
    text = _text(cell.get("source", cell.get("input")) or "")
    if cell["cell_type"] != CODE:
        return f"# Cell {number}\n\n{_demote(text)}"
    outputs: list[Any] = cell.get("outputs") or []
    shown = "\n".join(filter(None, (_output(each) for each in outputs if isinstance(each, dict))))
    printed = f"\n\nOutput:\n\n```text\n{shown[:MAX_OUTPUT_CHARACTERS]}\n```" if shown else ""
    return f"# Cell {number}\n\n```{language}\n{text}\n```{printed}"


def _demote(text: str) -> str:
    # A heading inside a cell stays below the cell's own.
    return "\n".join(f"#{line}" if line.startswith("#") else line for line in text.split("\n"))


def _output(output: Json) -> str:
    data = output.get("data")
    if isinstance(data, dict):
        return _text(data.get("text/plain", ""))
    if "ename" in output:
        return f"{output['ename']}: {output.get('evalue', '')}"
    return _text(output.get("text", ""))


def _text(source: object) -> str:
    return "".join(map(str, source)) if isinstance(source, list) else str(source)
