"""Modules that are imported at their first use, because the import is slow."""

from importlib import import_module
from typing import Any

from lunaos.infra import gc_tuning

# The model client and the price table take a third of a process's start. Management commands, beat and the worker of
# short jobs never use them.
_names: set[str] = set()


class LazyModule:
    """Stand-in for a module; a type checker sees the module through TYPE_CHECKING."""

    def __init__(self, name: str) -> None:
        self._name = name
        _names.add(name)

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self._name), name)


def import_all() -> None:
    """Import every module that is still outstanding, so that no request waits for one."""
    gc_tuning.pause()
    try:
        for name in _names:
            import_module(name)
    finally:
        gc_tuning.resume()
