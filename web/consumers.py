"""The answer to sockets on unknown paths: refused in the handshake, and not an error in the log."""

from channels.generic.websocket import AsyncWebsocketConsumer


class UnknownSocket(AsyncWebsocketConsumer):
    async def connect(self) -> None:
        await self.close()
