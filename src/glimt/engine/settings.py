"""How an engine is run: parsed once, passed down, torch-free.

Knows nothing about where the values came from (`glimt.app.config`) or what a model looks like
(`glimt.engine.config`).
"""

from typing import Literal, TypeAlias

import msgspec

Dtype: TypeAlias = Literal["auto", "float32", "bfloat16", "float16"]

PAGE_SIZE = 64
"""Tokens in one page of the cache. 64 rows of 576 values are 73.7 kB a layer in bf16: large enough
for wide loads, small enough that a prefix is shared to within 63 tokens."""


class EngineSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything a worker process needs to know.

    Attributes:
        model: `glimt/nano`, a folder in Hugging Face layout, or a hub id.
        revision: The hub revision, when `model` is a hub id.
        device: "cpu", "cuda", "cuda:1"; "auto" takes a GPU when there is one.
        dtype: "auto" is the checkpoint's own on a GPU; on a CPU float32 for models under 4 GB,
            bfloat16 above.
        load_format: "dummy" makes random weights of the right shapes, for benchmarks.
        weights: "auto" keeps matrices as the checkpoint has them: on a GPU those in fp8 stay so.
            "fp8" rounds a plain checkpoint's as they are loaded, all but embedding, router and
            head, which takes half their memory and changes answers a little. "int4-experts"
            rounds experts to 4 bits, which takes a quarter of their memory and changes more. On a
            CPU both are slow.
        latent_norm_eps: The eps of the two latent norms (q_a and kv_a). `None` takes the config's
            `rms_norm_eps`, as training did; transformers hard-codes 1e-6.
        context_length: Lowers the model's own limit; never raises it.
        cache_gb: Memory for the KV pool in gigabytes (10**9 bytes). `None` takes what is free on a
            GPU after a trial run, and 1.0 on a CPU.
        gpu_memory_fraction: How much of the GPU's memory everything together may take.
        max_sequences: How many sequences may run at once; more wait.
        max_step_tokens: The token budget of one step, prefill chunks and decodes together.
        max_pause_s: How long a step may last while answers are under way: a long prompt is computed
            in chunks so short that they go on. A step whose answers alone take so long gives
            prompts as much time again. Longer pauses shorten the wait for long prompts.
        flex_step_s: How long a step may last that computes "flex" requests alone, where
            `priority_tier` lets somebody come who should not wait for its end. Longer steps bring
            more tokens of flex a second.
        max_queue_requests: Waiting sequences beyond which new ones are refused as overloaded, and
            told when to come again. `flex` requests may be half of them.
        max_queue_tokens: Their prompts' tokens together, beyond which it is the same; room for
            eight prompts of 200 000. It bounds memory (36 bytes a token) and how long the last in
            the queue waits.
        priority_tier: Serve requests of `service_tier` "priority" before others. Anybody may ask
            for it, so it is off unless every client can be trusted.
        prefix_cache: Reuse full pages of earlier prompts.
        cache_isolation: Whose prompts are reused for whom: "key" keeps each API key's apart, so
            that nobody learns what others asked; "shared" computes what they have in common once.
        speculation: "on" lets the checkpoint's prediction layer, if it has one, guess a token
            ahead, which can save time and changes no answer; "auto" does so on a GPU. On a CPU a
            step of two tokens costs what the second one saves, so there it is to be asked for.
        speculation_max_sequences: How many sequences may run for it to be done: with more of
            them the work for wrong guesses costs more than right ones save.
        async_steps: "on" launches a step before the one before it is read, so that the device does
            not wait for the host; "auto" does so on a GPU. Answers are the same.
        graphs: On a GPU, replay recorded CUDA graphs for steps of up to 64 tokens.
        threads: CPU threads for torch; `None` lets the worker choose.
        seed: For dummy weights and for requests without a seed; `None` draws one.
        max_silence_s: A worker that has requests and says nothing for so long hangs: it is killed
            and replaced. It speaks at least once a second, but not in the middle of a step.
            `None` is 120 on a GPU, and 900 on a CPU, where a large model's step takes minutes.
    """

    model: str = "glimt/nano"
    revision: str | None = None
    device: str = "auto"
    dtype: Dtype = "auto"
    load_format: Literal["auto", "dummy"] = "auto"
    weights: Literal["auto", "fp8", "int4-experts"] = "auto"
    latent_norm_eps: float | None = None
    context_length: int | None = None
    cache_gb: float | None = None
    gpu_memory_fraction: float = 0.9
    max_sequences: int = 64
    max_step_tokens: int = 2048
    max_pause_s: float = 0.2
    flex_step_s: float = 0.01
    max_queue_requests: int = 4096
    max_queue_tokens: int = 1_600_000
    priority_tier: bool = False
    prefix_cache: bool = True
    cache_isolation: Literal["key", "shared"] = "key"
    speculation: Literal["auto", "on", "off"] = "auto"
    speculation_max_sequences: int = 4
    async_steps: Literal["auto", "on", "off"] = "auto"
    graphs: bool = True
    threads: int | None = None
    seed: int | None = None
    max_silence_s: float | None = None
