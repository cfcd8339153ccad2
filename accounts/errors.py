"""What can go wrong with an account."""

from lunaos.errors import LunaError


class EmailTaken(LunaError):
    code, status, message = ("email_taken", 409, "An account with this email address exists.")


class InvalidCredentials(LunaError):
    code, status, message = ("invalid_credentials", 401, "The email address or the password is wrong.")


class IdempotencyConflict(LunaError):
    code, status, message = (
        "idempotency_conflict",
        409,
        "This Idempotency-Key was used for another request.",
    )
