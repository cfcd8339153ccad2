"""Django app of the double, so that `manage.py` finds its command."""

from django.apps import AppConfig


class StripeDoubleConfig(AppConfig):
    name = "tools.stripe_double"
    verbose_name = "Double of Stripe"
