"""Modules that take long to import, imported when something of them is used first.

A model client and the prices of models are a third of a process's start, and half of the processes never ask a
model: management commands, beat, the worker of short jobs. Others load them before they say that they are ready.
"""

from importlib import import_module
from typing import Any

from lunaos.infra import gc_tuning

_names: set[str] = set()


class Module:
    """What stands for a module until then; a type checker sees the module itself, by an import for it alone."""

    def __init__(self, name: str) -> None:
        self._name = name
        _names.add(name)

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self._name), name)


def load() -> None:
    """Import what is still outstanding, so that nobody has to wait for it later."""
    gc_tuning.pause()
    try:
        for name in _names:
            import_module(name)
    finally:
        gc_tuning.resume()
