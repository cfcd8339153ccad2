"""Django's middleware, for the admin's pages only."""

# Each one costs a request two hops to a thread and back, and no API route uses a session or messages. CSRF needs no
# middleware: the admin protects its own views, and no other view is authenticated by a cookie.

from collections.abc import Awaitable
from typing import cast

from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.deprecation import MiddlewareMixin
from django_otp.middleware import OTPMiddleware

ADMIN_PREFIX = "/admin/"


class _AdminOnly(MiddlewareMixin):
    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path_info.startswith(ADMIN_PREFIX):
            return await super().__acall__(request)
        return await cast(Awaitable[HttpResponseBase], self.get_response(request))


class Sessions(_AdminOnly, SessionMiddleware):
    """Sessions, under the admin only."""


class Authentication(_AdminOnly, AuthenticationMiddleware):
    """`request.user` from the session, under the admin only."""


class SecondFactor(OTPMiddleware):
    """`request.user.otp_device`, under the admin only."""

    # Django-otp's middleware is asynchronous.

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path_info.startswith(ADMIN_PREFIX):
            return cast(HttpResponseBase, await super().__acall__(request))
        return await cast(Awaitable[HttpResponseBase], self.get_response(request))


class Messages(_AdminOnly, MessageMiddleware):
    """One-time messages, under the admin only."""
