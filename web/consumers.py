from channels.generic.websocket import AsyncWebsocketConsumer


class UnknownSocket(AsyncWebsocketConsumer):
    async def connect(self) -> None:
        # In the handshake: without a consumer, an unknown path would be an error in the log.
        await self.close()
