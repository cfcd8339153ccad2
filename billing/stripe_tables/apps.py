"""dj-stripe, as the tables that it brings: nothing of it runs (docs/adr/0020)."""

from django.apps import AppConfig


class StripeTablesConfig(AppConfig):
    """In the place of dj-stripe's own, whose checks ask the database, and whose handlers ask Stripe."""

    name = "djstripe"
    default_auto_field = "django.db.models.AutoField"
