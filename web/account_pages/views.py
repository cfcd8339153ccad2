"""Pages that mails about accounts lead to. A GET changes nothing, since programs that scan mails follow links."""

from typing import Any, ClassVar

from django.http import HttpResponse
from django.urls import reverse
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from accounts.errors import MailTokenInvalid
from accounts.models import User
from accounts.serializers import EmailSerializer, ResetPasswordSerializer
from accounts.signin import passwords, signed_tokens, verification
from lunaos.errors import ValidationFailed
from lunaos.infra import thread_pools
from web.pages import FormPage, field_errors, get_field, read_form, render_message, render_page

START = ("Start with the documentation", "/docs/start")


class ConfirmEmailView(FormPage):
    """Confirmation of an address with a mailed token."""

    action = "verify"

    def get(self, request: Request) -> HttpResponse:
        token = request.query_params.get("token", "")
        try:
            user = signed_tokens.read(signed_tokens.VERIFICATION, token)
        except MailTokenInvalid:
            return _old_confirmation()
        return render_page("web/confirm_email.html", {"token": token, "email": user.email})

    def post(self, request: Request) -> HttpResponse:
        try:
            verification.verify(get_field(request, "token"))
        except MailTokenInvalid:
            return _old_confirmation()
        return render_message("Your address is confirmed", "Your account is ready.", link=START)


class ConfirmEmailAgainView(FormPage):
    """Request for another mail that confirms an address."""

    action = "resend"

    def get(self, request: Request) -> HttpResponse:
        return _email_page(CONFIRM_AGAIN)

    def post(self, request: Request) -> HttpResponse:
        try:
            verification.request(**read_form(request, EmailSerializer))
        except ValidationError as e:
            return _email_page(CONFIRM_AGAIN, request, e)
        sentence = "If an account with this address waits for its confirmation, a mail with a new link is on its way."
        return render_message("Look into your mailbox", sentence, link=START)


class ForgotPasswordView(FormPage):
    """Request for a mail that sets a new password."""

    action = "forgot"

    def get(self, request: Request) -> HttpResponse:
        return _email_page(FORGOTTEN)

    def post(self, request: Request) -> HttpResponse:
        try:
            passwords.request_reset(**read_form(request, EmailSerializer))
        except ValidationError as e:
            return _email_page(FORGOTTEN, request, e)
        sentence = "If there is an account with this address, a mail with a link is on its way."
        return render_message("Look into your mailbox", sentence, "The link is valid for 24 hours.", link=START)


class ResetPasswordView(FormPage):
    """New password with a mailed token."""

    action = "reset"
    pool: ClassVar = {"post": thread_pools.HASHING}

    def get(self, request: Request) -> HttpResponse:
        token = request.query_params.get("token", "")
        try:
            return _password_page(token, signed_tokens.read(signed_tokens.PASSWORD_RESET, token))
        except MailTokenInvalid:
            return _email_page(RESET_IS_OLD, status=400)

    def post(self, request: Request) -> HttpResponse:
        token = get_field(request, "token")
        try:
            user = signed_tokens.read(signed_tokens.PASSWORD_RESET, token)
            revoked = passwords.reset(**read_form(request, ResetPasswordSerializer))
        except MailTokenInvalid:
            return _email_page(RESET_IS_OLD, status=400)
        except (ValidationError, ValidationFailed) as e:  # the token is still valid
            return _password_page(token, user, field_errors(e).get("password", ""))
        keys = (
            "API keys and provider keys of the account are revoked, because this address was not confirmed before."
            if revoked
            else "Your API keys still work. If another person knew your password, revoke them."
        )
        return render_message("Your new password is set", "All sessions have ended.", keys, link=START)


CONFIRM_AGAIN: dict[str, Any] = {
    "title": "Confirm your address",
    "lead": "We send a mail with a new link to the address of your account.",
    "url_name": "confirm-email-again",
}
CONFIRMATION_IS_OLD = CONFIRM_AGAIN | {
    "title": "This link does not work any more",
    "lead": "It was used before, is older than 7 days, or the account has changed since. If you have confirmed your "
    "address with it, there is nothing to do. Otherwise request a mail with a new link.",
}
FORGOTTEN: dict[str, Any] = {
    "title": "Set a new password",
    "lead": "We send a mail with a link to the address of your account.",
    "url_name": "forgot-password",
}
RESET_IS_OLD = FORGOTTEN | {
    "title": "This link does not work any more",
    "lead": "It was used before, is older than 24 hours, or the account has changed since. If you have set a new "
    "password with it, there is nothing to do. Otherwise request a mail with a new link.",
}


def _old_confirmation() -> HttpResponse:
    return _email_page(CONFIRMATION_IS_OLD, status=400)


def _email_page(
    texts: dict[str, Any], request: Request | None = None, error: Exception | None = None, *, status: int = 200
) -> HttpResponse:
    """Render the form that asks for an address; with an error, the request that caused the error fills the form."""
    shown = {**texts, "url": reverse(texts["url_name"])}
    if request is not None and error is not None:
        shown |= {"email": get_field(request, "email"), "error": field_errors(error).get("email", "")}
    return render_page("web/email_form.html", shown, 400 if error else status)


def _password_page(token: str, user: User, error: str = "") -> HttpResponse:
    shown = {"token": token, "email": user.email, "error": error}
    return render_page("web/reset_password.html", shown, 400 if error else 200)
