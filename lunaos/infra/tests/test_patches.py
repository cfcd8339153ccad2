"""Changes to foreign modules: all in lunaos/infra/patches.py, each still needed."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from lunaos.infra import patches
from testing.servers import ROOT

PRODUCT = ("lunaos", "accounts", "agents", "apikeys", "billing", "chains", "rag", "refusals", "runs", "web")
# An unpatched process: redis alone.
UNPATCHED = """
import sys, redis
from redis._parsers import BaseParser
print(*(code for code in ("MISCONF", "NOREPLICAS", "BUSY") if code in BaseParser.EXCEPTION_CLASSES))
print("opentelemetry.metrics" in sys.modules)
"""


def foreign_names(tree: ast.Module) -> set[str]:
    """Return the names that a module imports from other packages than ours."""
    found = set()
    for node in ast.walk(tree):
        is_ours = isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in PRODUCT
        if isinstance(node, ast.Import | ast.ImportFrom) and not is_ours:
            found |= {alias.asname or alias.name for alias in node.names}
    return found - {"sys"}


def patched(path: Path) -> Iterator[str]:
    """Find assignments to attributes and items of foreign names."""
    tree = ast.parse(path.read_text())
    foreign = foreign_names(tree)
    for node in ast.walk(tree):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets:
            owner = target.value if isinstance(target, ast.Attribute | ast.Subscript) else None
            if isinstance(owner, ast.Name) and owner.id in foreign:
                yield f"{path.relative_to(ROOT)}: {ast.unparse(node)}"


def test_no_other_module_changes_foreign_ones() -> None:
    files = (path for app in PRODUCT for path in (ROOT / app).rglob("*.py"))
    product = [path for path in files if not {"tests", "migrations"} & set(path.parts)]
    assert [found for path in product for found in patched(path)] == []


def test_each_patch_says_when_to_remove_it() -> None:
    functions = [
        function for function in vars(patches).values() if getattr(function, "__module__", "") == patches.__name__
    ]
    assert len(functions) >= 6
    for function in functions:
        assert "Reason: " in function.__doc__ and "Remove when " in function.__doc__, function.__name__


def test_redis_still_needs_its_patches() -> None:
    done = subprocess.run([sys.executable, "-c", UNPATCHED], capture_output=True, text=True, check=True)
    known_codes, imports_metrics = done.stdout.split("\n")[:2]
    assert (known_codes, imports_metrics) == ("", "True")
