"""Django's PostgreSQL backend, which notices that the server has hung up before it sends a statement."""

import select

from django.db.backends.postgresql import base


class DatabaseWrapper(base.DatabaseWrapper):
    """Connects anew where a kept connection has been closed by the server's restart.

    Django's own health check costs a round trip, and is made once a request by a thread that need not be the view's.
    """

    def ensure_connection(self) -> None:
        if self.connection is not None and not self.in_atomic_block and self._hung_up():
            self.close()
        super().ensure_connection()

    def _hung_up(self) -> bool:
        """An idle connection has something to read when the server has said goodbye, and at its end."""
        if self.connection.closed:
            return True
        poll = select.poll()
        poll.register(self.connection.fileno(), select.POLLIN)
        return bool(poll.poll(0))
