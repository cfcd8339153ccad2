"""dj-stripe as an app that has tables only; none of its code runs (docs/adr/0020)."""

from django.apps import AppConfig


class StripeTablesConfig(AppConfig):
    """Replaces dj-stripe's own, whose checks query the database and call Stripe."""

    name = "djstripe"
    verbose_name = "Payments"  # in the admin's breadcrumbs
    default_auto_field = "django.db.models.AutoField"
