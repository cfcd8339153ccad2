"""Garbage collection during a process's start.

Collecting while modules are imported takes a quarter of a start. Freezing the imported objects afterwards keeps a full
collection from pausing the process.
"""

import gc

_usual_threshold = gc.get_threshold()


def pause() -> None:
    """Collect seldom until `resume`; a process that never calls it still collects, late."""
    gc.set_threshold(1_000_000, 10, 10)


def resume() -> None:
    """Collect as usual, among objects that are created from now on."""
    gc.freeze()
    gc.set_threshold(*_usual_threshold)
