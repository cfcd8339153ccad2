"""Billing's pages of the admin; Django imports them at the start."""

from billing.admin import catalogue, events, invoices, subscriptions

__all__ = ["catalogue", "events", "invoices", "subscriptions"]
