"""Errors of the account endpoints."""

from lunaos.errors import LunaError


class EmailTaken(LunaError):
    code, status, message = ("email_taken", 409, "An account with this email address exists.")


class InvalidCredentials(LunaError):
    code, status, message = ("invalid_credentials", 401, "The email address or the password is wrong.")


class OtpRequired(LunaError):
    code, status, message = (
        "otp_required",
        401,
        "This account has a second factor: send its code as `otp` in the body, or in the header X-OTP.",
    )


class OtpInvalid(LunaError):
    code, status, message = (
        "otp_invalid",
        401,
        "This code is wrong, was used before, or came too soon after a wrong one. Wait for the next code.",
    )


class LastSuperuser(LunaError):
    code, status, message = (
        "last_superuser",
        409,
        "This is the last superuser who can sign in. Make another account a superuser first.",
    )


class WrongPassword(LunaError):
    """A wrong password in a request with a valid token."""

    # Not 401: a client would discard the token of the request, which is valid.
    code, status, message = ("wrong_password", 403, "The password is wrong.")


class MailTokenInvalid(LunaError):
    code, status, message = (
        "mail_token_invalid",
        400,
        "This token is not valid: it was used, has expired, or the account has changed since. Request a new mail.",
    )


class EmailNotVerified(LunaError):
    code, status, message = (
        "email_not_verified",
        403,
        "Confirm your email address first. POST /auth/verify/resend sends the mail again.",
    )
    is_refusal = True


class ExportUnderWay(LunaError):
    code, status, message = (
        "export_under_way",
        429,
        "Another export of your account is being sent. Wait until it ends, or try again in a minute.",
    )


class IdempotencyConflict(LunaError):
    code, status, message = (
        "idempotency_conflict",
        409,
        "This Idempotency-Key was used for another request. Send a new key.",
    )
