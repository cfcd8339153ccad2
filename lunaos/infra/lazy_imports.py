"""Modules that are imported at their first use, because the import is slow.

The model client and the price table take a third of a process's start. Management commands, beat and the worker of
short jobs never use them; other processes import them before they report that they are ready.
"""

from importlib import import_module
from typing import Any

from lunaos.infra import gc_tuning

_names: set[str] = set()


class LazyModule:
    """Stand-in for a module; a type checker sees the module through an import under TYPE_CHECKING."""

    def __init__(self, name: str) -> None:
        self._name = name
        _names.add(name)

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self._name), name)


def import_all() -> None:
    """Import every module that is still outstanding, so that no request waits for an import."""
    gc_tuning.pause()
    try:
        for name in _names:
            import_module(name)
    finally:
        gc_tuning.resume()
