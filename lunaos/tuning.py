"""Tuning: settings with defaults that few operators change; times are in seconds."""

import os

from lunaos import environment

environment.print_configuration_errors()
env = environment.Env()

# Lower a limit only for a reason that you measured.
# -- Threads of a web process; each thread keeps one database connection (docs/adr/0003) --
THREADS = env.int("LUNAOS_THREADS", default=8)
# Argon2 keeps a core busy, so hashing has as many threads as cores, and nothing else waits behind it.
HASHING_THREADS = env.int("LUNAOS_HASHING_THREADS", default=0) or os.cpu_count() or 2
STRIPE_THREADS = env.int("LUNAOS_STRIPE_THREADS", default=4)  # for requests that wait for Stripe; as many for events

# -- PostgreSQL; 0 sets no limit --
# In a web process, so that a server that hangs becomes a 503 soon. Management commands have the first limit only
# (lunaos.infra.postgresql.limits).
DATABASE_CONNECT_TIMEOUT_S = env.int("LUNAOS_DATABASE_CONNECT_TIMEOUT_S", default=5)
DATABASE_LOCK_TIMEOUT_S = env.float("LUNAOS_DATABASE_LOCK_TIMEOUT_S", default=5.0)
DATABASE_STATEMENT_TIMEOUT_S = env.float("LUNAOS_DATABASE_STATEMENT_TIMEOUT_S", default=20.0)
# In workers and exports.
DATABASE_LONG_LOCK_TIMEOUT_S = env.float("LUNAOS_DATABASE_LONG_LOCK_TIMEOUT_S", default=60.0)
DATABASE_LONG_STATEMENT_TIMEOUT_S = env.float("LUNAOS_DATABASE_LONG_STATEMENT_TIMEOUT_S", default=900.0)
# How long a run under way waits for a database that restarts.
DATABASE_PATIENCE_S = env.float("LUNAOS_DATABASE_PATIENCE_S", default=30.0)

# -- Requests, streams and shutdown --
READ_TIMEOUT_S = env.float("LUNAOS_READ_TIMEOUT_S", default=20.0)  # for a whole request, unless 32 KiB/s arrive
STREAM_HEARTBEAT_S = env.float("LUNAOS_STREAM_HEARTBEAT_S", default=15.0)
STREAM_STALL_S = env.float("LUNAOS_STREAM_STALL_S", default=60.0)  # then a client that reads nothing is dropped
STOP_GRACE_S = env.float("LUNAOS_STOP_GRACE_S", default=3.0)  # for open runs, after SIGTERM

# -- Language models --
LLM_CONNECT_TIMEOUT_S = env.float("LLM_CONNECT_TIMEOUT_S", default=5.0)
LLM_FIRST_TOKEN_TIMEOUT_S = env.float("LLM_FIRST_TOKEN_TIMEOUT_S", default=60.0)
LLM_IDLE_TIMEOUT_S = env.float("LLM_IDLE_TIMEOUT_S", default=30.0)
LLM_RUN_TIMEOUT_S = env.float("LLM_RUN_TIMEOUT_S", default=600.0)  # from the first piece of an answer on
# A provider that queues a request has 600 s, or 60 s where a fallback can be asked; a value set here holds for both.
_queue_timeout_s = env.str("LLM_QUEUE_TIMEOUT_S", default="")
LLM_QUEUE_TIMEOUT_S = float(_queue_timeout_s or 600)
LLM_QUEUE_TIMEOUT_WITH_FALLBACK_S = float(_queue_timeout_s or 60)
LLM_RETRIES = env.int("LLM_RETRIES", default=2)

# -- Code search --
EMBEDDINGS_TIMEOUT_S = env.float("EMBEDDINGS_TIMEOUT_S", default=60.0)  # of one request of an index job
EMBEDDINGS_QUICK_TIMEOUT_S = env.float("EMBEDDINGS_QUICK_TIMEOUT_S", default=10.0)  # while a client waits
RAG_INLINE_CHARACTERS = env.int("LUNAOS_RAG_INLINE_CHARACTERS", default=20_000)  # a worker indexes larger requests
RAG_WAIT_S = env.float("LUNAOS_RAG_WAIT_S", default=30.0)  # for that worker, before the answer is 202
RAG_PASSAGE_TOKENS = env.int("LUNAOS_RAG_PASSAGE_TOKENS", default=2000)  # of quoted code in a prompt, at most
