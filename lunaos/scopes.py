"""Scopes of API keys."""

# A view names the scopes of which a key needs one: `scopes = (AGENTS,)`. A view without scopes accepts no key, only a
# signed-in user.

AGENTS, CHAINS, RAG, BILLING_READ, KEYS = "agents", "chains", "rag", "billing:read", "keys"
ALL = (AGENTS, CHAINS, RAG, BILLING_READ, KEYS)
DEFAULT = (AGENTS, CHAINS, RAG, BILLING_READ)  # a key that may create keys is requested explicitly
ANY = ALL
SESSION_ONLY = ()
