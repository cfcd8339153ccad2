"""Admin pages that combine several apps; Django's admin imports them at the start."""

from web.admin import agents, api_keys, users

__all__ = ["agents", "api_keys", "users"]
