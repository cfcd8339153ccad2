"""The lockout's place in Django's authentication, where django-axes calls: for the API and the admin alike."""

from typing import Any, cast

from axes.backends import AxesStandaloneBackend
from axes.exceptions import AxesBackendPermissionDenied
from axes.handlers.database import AxesDatabaseHandler
from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest

from accounts.auditlog import trail
from accounts.auditlog.trail import Action
from accounts.models import User
from accounts.signin import lockout
from lunaos.infra import client_info, read_access


class LockoutHandler(AxesDatabaseHandler):
    """Counts in single conditional statements; axes' own handlers look first and count afterwards."""

    def is_allowed(self, request: Any, credentials: Any = None) -> bool:
        request.sign_in = lockout.count_attempt(credentials["username"] or "")
        return request.sign_in is not None

    def user_login_failed(self, sender: Any, credentials: Any, request: Any = None, **_: Any) -> None:
        lockout.record_failure(credentials["username"] or "", request.sign_in)

    def user_logged_in(self, sender: Any, request: Any, user: User, **_: Any) -> None:
        if hasattr(request, "sign_in"):  # not where a session was made without a password, as Django's test client does
            lockout.record_success(request.sign_in)
        lockout.remember_address(user)
        trail.record_on_commit(Action.LOGGED_IN, actor=user, subject=user)

    def user_logged_out(self, sender: Any, request: Any, user: User | None, **_: Any) -> None:
        if user:
            if hasattr(
                request, "session"
            ):  # Django deletes it behind this signal: a reader's check would still find it
                request.session.delete()
            read_access.publish_change(user.pk)
            trail.record_on_commit(Action.LOGGED_OUT, actor=user, subject=user)


class LockoutBackend(AxesStandaloneBackend):
    """Refuses before the password is looked at, and takes as long as if it had been."""

    def authenticate(
        self, request: HttpRequest, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> None:
        """Let an attempt go on to the next backend.

        Raises:
            AxesBackendPermissionDenied: locked; Django turns it into nobody, as for a wrong password.
        """
        try:
            super().authenticate(request, username=username, password=password, **kwargs)
        except AxesBackendPermissionDenied:
            ModelBackend().authenticate(request, username=username, password=password)
            raise


def client_address(request: HttpRequest) -> str:
    """For axes: the address that everything else of the request goes by."""
    return client_info.current().address


def attempt_of(request: HttpRequest) -> lockout.SignInAttempt:
    """The attempt that has let a request through."""
    return cast(lockout.SignInAttempt, cast(Any, request).sign_in)
