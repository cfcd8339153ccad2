"""Pages to subscribe, to pay an invoice, and to open the subscription at Stripe."""

from typing import Any, ClassVar

from django.http import HttpResponse, HttpResponseRedirect
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from accounts import services
from accounts.errors import InvalidCredentials, MailTokenInvalid, OtpInvalid, OtpRequired
from accounts.models import User
from accounts.serializers import LogInSerializer
from billing.errors import AlreadySubscribed, BillingNotConfigured, NoSubscription
from billing.payments import checkout, invoice_links, plans, portal_links, stripe_connection, subscriptions
from billing.serializers import TierSerializer
from lunaos.api.exceptions import skip_request_log
from lunaos.errors import LunaError
from lunaos.infra import thread_pools
from web import landing
from web.pages import FormPage, SeeOther, field_errors, get_field, prefers_html, read_form, render_message, render_page

PLANS = ("See the plans", "/pricing")
PORTAL = ("Open your subscription", "/portal")
LINK_EXPIRED = "The link has expired, or your account has changed since. Sign in instead."
# What a page says of an error; the API's sentences name endpoints and members of JSON.
SENTENCES: dict[type[LunaError], str] = {
    InvalidCredentials: "The email address or the password is wrong.",
    OtpRequired: "Your account has a second factor. Enter the code of your authenticator app, and your password again.",
    OtpInvalid: "This code is wrong, or was used before. Wait for the next code, and enter your password again.",
    NoSubscription: "You have no subscription yet. Choose a plan first.",
    BillingNotConfigured: "This platform takes no payments at present.",
}


class SignInPage(FormPage):
    """A form that signs in for one step at Stripe and keeps no session.

    The attempt counts towards the limits and the lockout of `POST /auth/login`.
    """

    action = "login"
    pool: ClassVar[Any] = {"post": thread_pools.STRIPE}  # it waits for Stripe longer than it hashes the password

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        # Browsers apply `form-action` to the redirect after the form too.
        response._csp_update = {"form-action": stripe_connection.page_origins()}
        return super().finalize_response(request, response, *args, **kwargs)

    def lead_to_stripe(self, request: Request) -> HttpResponse:
        """Sign in with the form's fields and lead to Stripe, or show the form with what is wrong."""
        try:
            return SeeOther(self.page_at_stripe(request))
        except ValidationError as e:
            return self.form(request, 400, errors=field_errors(e))
        except LunaError as e:
            response = self.form(request, e.status, message=SENTENCES.get(type(e), str(e)))
            skip_request_log(response)
            return response

    def page_at_stripe(self, request: Request) -> str:
        """Return the address at Stripe for the person who signs in."""
        raise NotImplementedError

    def form(self, request: Request, status: int = 200, **shown: Any) -> HttpResponse:
        """Render the page with its form."""
        raise NotImplementedError


class PricingView(SignInPage):
    """The plans, and a form to subscribe to one."""

    def get(self, request: Request) -> HttpResponse:
        return self.form(request)

    def post(self, request: Request) -> HttpResponse:
        return self.lead_to_stripe(request)

    def page_at_stripe(self, request: Request) -> str:
        form = read_form(request, TierSerializer, LogInSerializer)
        tier = form.pop("tier")
        user = services.log_in(request=request._request, **form)
        try:
            return checkout.start(user=user, tier=tier).url
        except AlreadySubscribed:
            return subscriptions.open_portal(user)

    def form(self, request: Request, status: int = 200, **shown: Any) -> HttpResponse:
        on_sale = [tier.name for tier in plans.list_tiers_on_sale()] if stripe_connection.is_configured() else []
        requested_tier = get_field(request, "tier") or request.query_params.get("tier")
        chosen = requested_tier if requested_tier in on_sale else next(iter(on_sale), "")
        context = {"plans": landing.list_plans(), "on_sale": on_sale, "chosen": chosen, **_typed(request), **shown}
        return render_page("web/pricing.html", context, status)


class PortalView(SignInPage):
    """A form that leads to the subscription at Stripe; links of old mails lead there at once."""

    pool = thread_pools.STRIPE

    def get(self, request: Request) -> HttpResponse:
        if token := request.query_params.get("token", ""):
            return self.open_by_link(request, portal_links.verify(token))
        return self.form(request)

    def post(self, request: Request) -> HttpResponse:
        return self.lead_to_stripe(request)

    def page_at_stripe(self, request: Request) -> str:
        return subscriptions.open_portal(
            services.log_in(request=request._request, **read_form(request, LogInSerializer))
        )

    def form(self, request: Request, status: int = 200, **shown: Any) -> HttpResponse:
        return render_page("web/portal.html", {**_typed(request), **shown}, status)

    def open_by_link(self, request: Request, user: User | None) -> HttpResponse:
        if user:
            return HttpResponseRedirect(subscriptions.open_portal(user))
        if prefers_html(request._request):
            return self.form(request, 400, message=LINK_EXPIRED)
        raise MailTokenInvalid()


class PayView(FormPage):
    """The way from a mail to an open invoice at Stripe."""

    pool = thread_pools.STRIPE

    def get(self, request: Request) -> HttpResponse:
        invoice_id = invoice_links.read(request.query_params.get("token", ""))
        if invoice_id is None:
            sentences = ("It is older than 7 days, or your account has changed since.", "Sign in to see your invoices.")
            return render_message("This link does not work any more", *sentences, link=PORTAL, status=400)
        state, url = invoice_links.find_payment_page(invoice_id)
        if state == invoice_links.OPEN:
            return HttpResponseRedirect(url)
        if state == invoice_links.PAID:
            return render_message("This invoice is paid", "There is nothing to do. Thank you.", link=PORTAL)
        return render_message("This invoice is closed", "It needs no payment any more.", link=PORTAL)


def _typed(request: Request) -> dict[str, Any]:
    """Return what a form shows again; a password is typed again."""
    return {"email": get_field(request, "email")}
