"""Celery's Redis transport, mended where a lost connection would end the worker (kombu 5.7; docs/adr/0007).

When the broker goes away, Celery closes its channels, and these give unacknowledged messages back over a connection
that is no more: an AttributeError, and the worker ends. Such messages stay with the broker instead, which delivers them
again after the visibility timeout.
"""

from typing import Any

from kombu.transport import TRANSPORT_ALIASES, redis


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


TRANSPORT_ALIASES["redis"] = TRANSPORT_ALIASES["rediss"] = f"{__name__}:Transport"
