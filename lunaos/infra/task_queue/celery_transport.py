"""Celery's Redis transport, where a lost connection or a refusal would end the worker (kombu 5.7; docs/adr/0007).

When the broker goes away, Celery closes its channels, and these give unacknowledged messages back over a connection
that is no more: an AttributeError, and the worker ends. Such messages stay with the broker instead, which delivers them
again after the visibility timeout.

A server that takes no writes for now (no memory, no disk, a replica) is as good as away: the worker connects again.
"""

from typing import Any

from kombu.transport import TRANSPORT_ALIASES, redis
from redis import exceptions
from redis._parsers import BaseParser


class RefusesWrites(exceptions.ResponseError):
    """The server takes no writes for now: it cannot save, has too few replicas, or is busy with a script."""


# Without these a refusal is any ResponseError, which is how a fault of ours reads too.
BaseParser.EXCEPTION_CLASSES |= dict.fromkeys(("MISCONF", "NOREPLICAS", "BUSY"), RefusesWrites)

WRITTEN, WRITTEN_FOR_S = "lunaos:broker-takes-writes", 60
REFUSALS = (
    RefusesWrites,
    exceptions.BusyLoadingError,
    exceptions.ClusterDownError,
    exceptions.MasterDownError,
    exceptions.OutOfMemoryError,
    exceptions.ReadOnlyError,
    exceptions.TryAgainError,
)


class QoS(redis.QoS):
    """Acknowledges and gives back only what can still be reached."""

    def restore_unacked(self, client: Any = None) -> None:
        if self._connected:
            super().restore_unacked(client)  # type: ignore[no-untyped-call]
        self._delivered.clear()

    def ack(self, delivery_tag: str) -> None:
        if self._connected:
            super().ack(delivery_tag)  # type: ignore[no-untyped-call]

    @property
    def _connected(self) -> bool:
        connection = self.channel.connection
        return connection is not None and connection.client is not None


class Channel(redis.Channel):
    QoS = QoS


class Transport(redis.Transport):
    Channel = Channel
    connection_errors = (*redis.Transport.connection_errors, *REFUSALS)

    def establish_connection(self) -> Any:
        """Connect where the server takes writes; else callers wait as for one that is away, and do not connect at once.

        Raises:
            RedisError: it takes none.
        """
        connection = super().establish_connection()  # type: ignore[no-untyped-call]
        try:
            connection._avail_channels[-1].client.set(WRITTEN, 1, ex=WRITTEN_FOR_S)
        except Exception:
            self.close_connection(connection)  # type: ignore[no-untyped-call]
            raise
        return connection


TRANSPORT_ALIASES["redis"] = TRANSPORT_ALIASES["rediss"] = f"{__name__}:Transport"
