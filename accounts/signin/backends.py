"""The lockout as Django's first authentication backend, for the API and the admin alike."""

from typing import Any, cast

from django.contrib.auth.backends import ModelBackend
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from accounts.signin import lockout


class LockoutBackend:
    """Refuse a locked account before its password is checked, in the time that a check takes."""

    # ModelBackend comes second and signs users in, so sessions name ModelBackend. This class has no `get_user`:
    # Django must not take it for a backend that can restore a session.

    def authenticate(
        self, request: HttpRequest, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> None:
        """Count the attempt, and let the next backend check the password."""
        # Django answers PermissionDenied as it answers a wrong password.
        attempt = lockout.count_attempt(username or "")
        cast(Any, request).sign_in_attempt = attempt
        if attempt is None:
            ModelBackend().authenticate(request, username=username, password=password)  # hashes as for any account
            raise PermissionDenied("The account is locked.")


def attempt_of(request: HttpRequest) -> lockout.SignInAttempt:
    """Return the attempt of a request whose password was checked."""
    return cast(lockout.SignInAttempt, cast(Any, request).sign_in_attempt)
