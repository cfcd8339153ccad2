"""The process of the embedded models: two HTTP servers, to chat and to embed."""

import os
import signal

from xllamacpp import CommonParams, Server

# Shared by the slots. The model was trained on 8 192 tokens, the maximum of a slot. An 8-bit cache would save 170 MB
# and read a long prompt 2.6 times more slowly.
CONTEXT_TOKENS = 16_384
SLOTS = 4
# The embedding model reads at most 512 tokens; in larger batches texts only attend to each other.
EMBEDDING_TOKENS, EMBEDDING_SLOTS = 512, 8
IDLE_S = 30  # then a model leaves memory; the next request loads it again within a second


def chat_params() -> CommonParams:
    params = _parameters("LLAMA", "smollm2-135m-instruct")
    params.n_parallel = SLOTS
    params.n_ctx = CONTEXT_TOKENS
    params.kv_unified = True
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = max(1, (os.cpu_count() or 1) // 2)
    params.sampling.penalty_repeat = 1.1  # so small a model repeats itself otherwise
    return params


def embedding_params() -> CommonParams:
    params = _parameters("EMBEDDING", "all-minilm-l6-v2")
    params.embedding = True
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = os.cpu_count() or 1
    params.n_parallel = EMBEDDING_SLOTS
    params.n_ctx = EMBEDDING_TOKENS * EMBEDDING_SLOTS
    params.n_batch = params.n_ubatch = EMBEDDING_TOKENS
    return params


def _parameters(prefix: str, name: str) -> CommonParams:
    params = CommonParams()
    params.model.path = os.environ[f"{prefix}_WEIGHTS"]
    # From variables, so that no process list shows the key.
    params.model_alias = {name}
    params.port = int(os.environ[f"{prefix}_PORT"])
    params.api_keys = [os.environ["LLAMA_KEY"]]
    # Threads that wait for each other by spinning cannot share cores with other programs: beside four busy processes on
    # two cores, two threads generate 3.9 tokens a second, and one 61.
    params.cpuparams.poll = params.cpuparams_batch.poll = 0
    params.cache_ram_mib = 0
    params.ui = False
    params.warmup = False
    params.sleep_idle_seconds = IDLE_S
    return params


if __name__ == "__main__":
    servers = [Server(describe()) for describe in (chat_params, embedding_params)]
    signal.pause()  # until a signal ends the process
