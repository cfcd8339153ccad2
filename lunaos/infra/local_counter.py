"""Fixed windows counted by this process alone: what is left where Valkey cannot count what must not go uncounted."""

import threading
import time
from dataclasses import dataclass, field

MAX_KEYS = 10_000


@dataclass(slots=True)
class LocalCounter:
    """Counts by key; with MAX_KEYS keys those whose window has ended go, and all where none has.

    Losing all is better than growing without end, and takes a client MAX_KEYS addresses to bring about.
    """

    _windows: dict[str, tuple[float, int]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def hit(self, key: str, window_s: float) -> tuple[int, float]:
        """Count, and return how many there are in the window with the seconds left of it."""
        now = time.monotonic()
        with self._lock:
            end, count = self._windows.get(key, (0.0, 0))
            if end <= now:
                self._make_room(now)
                end, count = now + window_s, 0
            self._windows[key] = end, count + 1
        return count + 1, end - now

    def _make_room(self, now: float) -> None:
        if len(self._windows) >= MAX_KEYS:
            self._windows = {key: window for key, window in self._windows.items() if window[0] > now}
        if len(self._windows) >= MAX_KEYS:
            self._windows.clear()
