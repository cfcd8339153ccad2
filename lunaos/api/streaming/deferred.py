"""Responses that a middleware completes on the event loop, without a thread."""

from django.http.response import HttpResponseBase

from lunaos.infra.read_access import Access


class DeferredResponse(HttpResponseBase):
    """A response that a view returns before its status is known."""

    # The innermost middleware (`lunaos.api.middleware.open_streams`) awaits `open` and sends the response that `open`
    # returns. A deferred response itself is never sent: it has no body. Attributes:     access: the permission that
    # the client reads by; the middleware sets it before it awaits `open`.

    access: Access | None = None

    async def open(self, within_s: float) -> HttpResponseBase:
        """Wait until the status is known.

        Raises:
            LunaError: becomes the error response.
        """
        raise NotImplementedError

    def abandon(self) -> None:
        """Note that the client left before the middleware awaited `open`."""
