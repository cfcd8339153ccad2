"""Celery's transport for brokers that go away or refuse writes (docs/adr/0007)."""

from typing import Any

from kombu.transport import TRANSPORT_ALIASES, redis
from redis import exceptions
from redis._parsers import BaseParser

from lunaos.infra import patches


class RefusesWrites(exceptions.ResponseError):
    """Raised when the server refuses writes: it cannot save, or has too few replicas."""


# Without these classes a refusal is a plain ResponseError, like a programming error.
patches.add_redis_errors(BaseParser, RefusesWrites, ("MISCONF", "NOREPLICAS", "BUSY"))

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
    """Acknowledges and restores messages only over a live connection."""

    def restore_unacked(self, client: Any = None) -> None:
        # Celery closes its channels when the broker goes away. Over a connection that no longer exists, an
        # AttributeError would end the worker. The messages stay with the broker, which delivers them again after the
        # visibility timeout.
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
        connection = super().establish_connection()  # type: ignore[no-untyped-call]
        # A server that refuses writes counts as unreachable, so that the worker connects again.
        try:
            connection._avail_channels[-1].client.set(WRITTEN, 1, ex=WRITTEN_FOR_S)
        except Exception:
            self.close_connection(connection)  # type: ignore[no-untyped-call]
            raise
        return connection


patches.replace_redis_transport(TRANSPORT_ALIASES, f"{__name__}:Transport")
