"""What llama.cpp or OpenVINO GenAI make of a model on this CPU, as one line of JSON: a process of its own for each
measurement of beside_peers.py, so that nothing of one peer stays in memory beside another.

    python bench/peers.py llama.cpp|openvino one|many MODEL.gguf THREADS

one: {"prefill", "decode"}, tokens per second of one sequence. many: {"8", "32"}, output tokens per second of so many.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

PROMPT, REPLY = 512, 64  # of one sequence
MANY_PROMPT, MANY_REPLY = 128, 64
SEQUENCES = (8, 32)
TRIES = 3  # after one that is left out; the best counts
MODULES = {"llama.cpp": "llama_cpp", "openvino": "openvino_genai"}


def made_up(count: int, seed: int = 0) -> list[int]:
    return [(i * 7919 + seed * 104729) % 40000 + 100 for i in range(count)]


def best_of(run: Callable[[], tuple[float, float]]) -> dict[str, float]:
    runs = [run() for _ in range(1 + TRIES)][1:]
    return {"prefill": max(run[0] for run in runs), "decode": max(run[1] for run in runs)}


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def llama_one(model: str, threads: int) -> dict[str, float]:
    from llama_cpp import Llama

    llama = Llama(model_path=model, n_ctx=2048, n_batch=512, n_ubatch=512, n_threads=threads, n_threads_batch=threads, verbose=False)
    tokens = made_up(PROMPT)

    def run() -> tuple[float, float]:
        llama.reset()
        prefill = seconds(lambda: llama.eval(tokens))
        decode = seconds(lambda: [llama.eval([token]) for token in tokens[:REPLY]])
        return PROMPT / prefill, REPLY / decode

    return best_of(run)


def llama_many(model: str, threads: int) -> dict[str, float]:
    import llama_cpp as api

    api.llama_backend_init()
    weights = api.llama_model_load_from_file(model.encode(), api.llama_model_default_params())
    params = api.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_ubatch = max(SEQUENCES) * (MANY_PROMPT + MANY_REPLY), 1024, 512
    params.n_threads = params.n_threads_batch = threads
    params.n_seq_max, params.kv_unified = max(SEQUENCES), True
    context = api.llama_init_from_model(weights, params)

    def step(rows: list[tuple[int, int, int, bool]]) -> None:
        """Rows of a token, its position, its sequence, and whether its logits are wanted."""
        batch = api.llama_batch_init(len(rows), 0, 1)
        batch.n_tokens = len(rows)
        for i, (token, position, sequence, wanted) in enumerate(rows):
            batch.token[i], batch.pos[i], batch.logits[i] = token, position, wanted
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, sequence
        if api.llama_decode(context, batch) != 0:
            raise RuntimeError("llama_decode failed")
        api.llama_batch_free(batch)

    def run(sequences: int) -> None:
        api.llama_memory_clear(api.llama_get_memory(context), True)
        for first in range(0, sequences, 8):
            rows = []
            for sequence in range(first, first + 8):
                prompt = made_up(MANY_PROMPT, sequence)
                rows += [(token, at, sequence, at == MANY_PROMPT - 1) for at, token in enumerate(prompt)]
            step(rows)
        for at, token in enumerate(made_up(MANY_REPLY)):
            step([(token + sequence, MANY_PROMPT + at, sequence, True) for sequence in range(sequences)])

    return {str(n): n * MANY_REPLY / min(seconds(lambda n=n: run(n)) for _ in range(2)) for n in SEQUENCES}


def openvino_one(model: str, threads: int) -> dict[str, float]:
    import numpy
    import openvino
    import openvino_genai as api

    pipeline = api.LLMPipeline(model, "CPU", INFERENCE_NUM_THREADS=threads)
    config = api.GenerationConfig()
    config.max_new_tokens = config.min_new_tokens = REPLY + 1
    config.ignore_eos, config.do_sample = True, False
    tries = iter(range(1 + TRIES))

    def run() -> tuple[float, float]:
        ids = numpy.array([made_up(PROMPT, next(tries))], dtype=numpy.int64)
        inputs = api.TokenizedInputs(openvino.Tensor(ids), openvino.Tensor(numpy.ones_like(ids)))
        metrics = pipeline.generate(inputs, config).perf_metrics
        return 1000 * PROMPT / metrics.get_ttft().mean, 1000 / metrics.get_tpot().mean

    return best_of(run)


def openvino_many(model: str, threads: int) -> dict[str, float]:
    import numpy
    import openvino
    import openvino_genai as api

    scheduler = api.SchedulerConfig()
    scheduler.max_num_batched_tokens, scheduler.max_num_seqs, scheduler.cache_size = 512, 64, 2
    scheduler.enable_prefix_caching = False
    pipeline = api.ContinuousBatchingPipeline(model, scheduler, "CPU", {"INFERENCE_NUM_THREADS": threads})
    config = api.GenerationConfig()
    config.max_new_tokens = config.min_new_tokens = MANY_REPLY
    config.ignore_eos, config.do_sample = True, False

    def run(sequences: int, seed: int) -> None:
        prompts = [numpy.array([made_up(MANY_PROMPT, seed + i)], dtype=numpy.int64) for i in range(sequences)]
        pipeline.generate([openvino.Tensor(prompt) for prompt in prompts], [config] * sequences)

    return {
        str(n): n * MANY_REPLY / min(seconds(lambda n=n, seed=seed: run(n, seed)) for seed in (0, 100)) for n in SEQUENCES
    }


MEASURE = {
    ("llama.cpp", "one"): llama_one,
    ("llama.cpp", "many"): llama_many,
    ("openvino", "one"): openvino_one,
    ("openvino", "many"): openvino_many,
}


def main() -> int:
    if len(sys.argv) != 5 or (sys.argv[1], sys.argv[2]) not in MEASURE or not sys.argv[4].isdecimal():
        sys.exit(__doc__)
    peer, work, model, threads = sys.argv[1:]
    print(json.dumps(MEASURE[peer, work](model, int(threads))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
