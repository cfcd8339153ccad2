"""Addresses of Stripe's dashboard, for staff."""

from django.conf import settings

DASHBOARD = "https://dashboard.stripe.com"
API_HOST = "https://api.stripe.com"


def link_to(kind: str, object_id: str, *, livemode: bool) -> str:
    # `kind` is the dashboard's word, such as `invoices`.
    # A double of Stripe has one page for all objects.
    if settings.STRIPE_HOST != API_HOST:
        return f"{settings.STRIPE_HOST}/"
    return f"{DASHBOARD}{'' if livemode else '/test'}/{kind}/{object_id}"
