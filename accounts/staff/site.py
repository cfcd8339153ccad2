"""Admin site: sign-in with a second factor, and the page that sets it (docs/adr/0034)."""

from base64 import b32encode
from typing import Any, cast

import django_otp
import segno
from django import forms
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django_otp.plugins.otp_totp.models import TOTPDevice
from unfold.forms import AuthenticationForm
from unfold.sites import UnfoldAdminSite
from unfold.widgets import UnfoldAdminTextInputWidget

from accounts.identity import staff_of
from accounts.models import User
from accounts.signin import backends, lockout, second_factor, throttles
from lunaos.infra import thread_pools

WRONG_CODE = "This code is wrong or was used before. Wait for the next one."

TOO_SOON = "This code came too soon after a wrong one. Wait a moment, then send the current code of your app."


class CodeField(forms.CharField):
    """Field for a one-time code, which password managers and phones can fill in."""

    def __init__(self, **options: Any) -> None:
        attributes = {"autocomplete": "one-time-code", "autocapitalize": "none", "spellcheck": "false"}
        super().__init__(max_length=16, widget=UnfoldAdminTextInputWidget(attrs=attributes), **options)

    def clean(self, value: Any) -> str:
        return str(super().clean(value)).replace(" ", "")


class StaffAuthenticationForm(AuthenticationForm):
    """Sign-in form with a field for the second factor's code."""

    # All users get the field, so that the form does not reveal which accounts have a second factor.

    code = CodeField(
        required=False,
        label="Code",
        help_text="The code of your authenticator app, or a backup code. Leave it empty at your first sign-in.",
    )

    def clean(self) -> dict[str, Any]:
        if throttles.count_attempt(cast(HttpRequest, self.request), "admin").exceeded:
            raise forms.ValidationError("Too many attempts from this address. Try again in a few minutes.")
        cleaned = super().clean()
        user = cast(User | None, self.get_user())
        if user is not None and second_factor.is_enrolled(user):
            device = second_factor.verify(user, cleaned["code"]) if cleaned.get("code") else None
            if device is None:
                lockout.record_failure(user.email, backends.attempt_of(cast(HttpRequest, self.request)))
                raise forms.ValidationError("Enter the code that your authenticator app shows now, or a backup code.")
            user.otp_device = device  # type: ignore[attr-defined]  # django-otp stores it in the session
        return cleaned

    def confirm_login_allowed(self, user: Any) -> None:
        """Count the sign-in of an account without access as a failure."""
        # Django sends no signal if the password is right.
        try:
            super().confirm_login_allowed(user)
        except forms.ValidationError:
            lockout.record_failure(user.get_username(), backends.attempt_of(cast(HttpRequest, self.request)))
            raise


class CodeForm(forms.Form):
    code = CodeField(label="Code")


class StaffSite(UnfoldAdminSite):
    """The admin, for staff who verified their second factor in this session."""

    index_title = "Dashboard"
    login_form = StaffAuthenticationForm
    login_template = "admin/second_factor/login.html"

    def has_permission(self, request: HttpRequest) -> bool:
        if not super().has_permission(request):
            return False
        return not settings.STAFF_SECOND_FACTOR or cast(Any, request.user).is_verified()

    @thread_pools.run_posts_in(thread_pools.HASHING)
    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        # A user without a second factor goes to the page that sets it.
        if request.method == "GET" and not self.has_permission(request) and self._may_enrol(request):
            return redirect("admin:second_factor")
        return super().login(request, extra_context)

    @thread_pools.run_posts_in(thread_pools.HASHING)
    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().password_change(request, extra_context)

    def get_urls(self) -> list[URLPattern | URLResolver]:
        """Return the usual URLs, with the second factor's page and a logout that needs no second factor."""
        return [
            path("second-factor/", self.second_factor, name="second_factor"),
            path("logout/", self.logout, name="logout"),
            *super().get_urls(),
        ]

    @method_decorator([never_cache, csrf_protect])
    def second_factor(self, request: HttpRequest) -> HttpResponse:
        """Show a secret, confirm it with a code, then show the backup codes once."""
        if not self._may_enrol(request):
            return redirect("admin:index")
        user, form = staff_of(request), CodeForm(request.POST or None)
        if form.is_valid():
            if second_factor.is_throttled(user):
                form.add_error("code", TOO_SOON)
            elif confirmed := second_factor.enrol(user, form.cleaned_data["code"]):
                return self._enrolled(request, *confirmed)
            else:
                form.add_error("code", WRONG_CODE)
        device = second_factor.pending_device(user)
        return self._page(request, "set", form=form, qr=_qr(device), secret=_secret(device))

    def _may_enrol(self, request: HttpRequest) -> bool:
        return super().has_permission(request) and not second_factor.is_enrolled(staff_of(request))

    def _enrolled(self, request: HttpRequest, device: TOTPDevice, codes: list[str]) -> HttpResponse:
        request.session.cycle_key()
        django_otp.login(request, device)
        return self._page(request, "codes", codes=codes)

    def _page(self, request: HttpRequest, name: str, **context: Any) -> HttpResponse:
        context = {**self.each_context(request), "title": "Second factor", **context}
        return TemplateResponse(request, f"admin/second_factor/{name}.html", context)


def _qr(device: TOTPDevice) -> SafeString:
    # Return an inline SVG without styles, which the Content-Security-Policy would block.
    return SafeString(segno.make(device.config_url, error="m").svg_inline(scale=5, light="#fff"))  # nosec B703 - drawn by segno, holds no text


def _secret(device: TOTPDevice) -> str:
    # Return the secret as an app expects it typed, in groups of four.
    text = b32encode(device.bin_key).decode().rstrip("=")
    return " ".join(text[start : start + 4] for start in range(0, len(text), 4))
