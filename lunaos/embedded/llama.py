"""The process that holds the embedded model: llama.cpp's own HTTP server. Configured by LLAMA_* variables, so that the
key is in no process list.
"""

import os
import signal

from xllamacpp import CommonParams, Server

# Shared by the slots; the model was trained on 8 192, which is a slot's most. An 8-bit cache would save 170 MB and read
# a long prompt 2.6 times more slowly.
CONTEXT_TOKENS = 16_384
SLOTS = 4


def parameters() -> CommonParams:
    """How the model is served."""
    params = CommonParams()
    params.model.path = os.environ["LLAMA_WEIGHTS"]
    params.model_alias = {"smollm2-135m-instruct"}
    params.port = int(os.environ["LLAMA_PORT"])
    params.api_keys = [os.environ["LLAMA_KEY"]]
    params.n_parallel = SLOTS
    params.n_ctx = CONTEXT_TOKENS
    params.kv_unified = True
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = os.cpu_count() or 1
    params.cache_ram_mib = 0
    params.sampling.penalty_repeat = 1.1  # so small a model circles otherwise
    params.ui = False
    params.warmup = False
    return params


if __name__ == "__main__":
    server = Server(parameters())
    signal.pause()  # until a signal ends the process
