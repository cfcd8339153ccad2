"""When Python looks for garbage: not while a process imports, and afterwards not among what the import left.

Looking again and again through what grows and stays is a quarter of a start; a full look later would be a pause.
"""

import gc

_as_usual = gc.get_threshold()


def pause() -> None:
    """Until `resume`; a process that never comes there still collects, late."""
    gc.set_threshold(1_000_000, 10, 10)


def resume() -> None:
    """From now on garbage is collected as usual, among what is made from now on."""
    gc.freeze()
    gc.set_threshold(*_as_usual)
