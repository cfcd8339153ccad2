"""Garbage collection during a process's start."""

import gc

# Collecting while modules are imported takes a quarter of a start.
_usual_threshold = gc.get_threshold()


def pause() -> None:
    """Collect seldom until `resume`; a process that never resumes collects late."""
    gc.set_threshold(1_000_000, 10, 10)


def resume() -> None:
    # A full collection of the imported objects would pause the process.
    gc.freeze()
    gc.set_threshold(*_usual_threshold)
