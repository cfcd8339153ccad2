"""The house for staff: what the admin shows that more than one app knows of; Django's admin imports it at the start."""

from web.admin import agents, users

__all__ = ["agents", "users"]
