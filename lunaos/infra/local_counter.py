"""Fixed-window counters of one process, while Valkey cannot count."""

import threading
import time
from dataclasses import dataclass, field

MAX_KEYS = 10_000


@dataclass(slots=True)
class LocalCounter:
    _windows: dict[str, tuple[float, int]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def hit(self, key: str, window_s: float) -> tuple[int, float]:
        """Count one; return the count of the window and the seconds left of it."""
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
        # No window has ended: that takes a client with MAX_KEYS addresses. Starting anew is better than growing without
        # a bound.
        if len(self._windows) >= MAX_KEYS:
            self._windows.clear()
