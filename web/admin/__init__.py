"""Admin pages that combine several apps; Django's admin imports them at the start."""

from web.admin import agents, users

__all__ = ["agents", "users"]
