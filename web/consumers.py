"""Refusal of WebSockets on unknown paths in the handshake, without an error in the log."""

from channels.generic.websocket import AsyncWebsocketConsumer


class UnknownSocket(AsyncWebsocketConsumer):
    async def connect(self) -> None:
        await self.close()
