"""What an API key may be used for. A view names the scopes of which a key needs one: `scopes = (AGENTS,)`.

A view that names none is for signed-in people only: no key opens it.
"""

AGENTS, CHAINS, RAG, BILLING_READ, KEYS = "agents", "chains", "rag", "billing:read", "keys"
ALL = (AGENTS, CHAINS, RAG, BILLING_READ, KEYS)
DEFAULT = (AGENTS, CHAINS, RAG, BILLING_READ)  # a key that makes keys is asked for by name
ANY = ALL
SESSION_ONLY = ()
