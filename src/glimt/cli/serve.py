"""`glimt serve`: what the command line says, over file and environment, then the server.

Knows which option is which setting; what settings mean is `glimt.app.config`'s business.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from glimt.app.config import load
from glimt.app.server import serve as run_server
from glimt.engine.settings import Dtype


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options:
    """What may be said on the command line; the rest is said in the configuration file.

    Attributes:
        config: A configuration file; by default config.toml in GLIMT_HOME, if it is there.
        host: The address to listen on (127.0.0.1). Any other needs an API key.
        port: The port (4747); 0 takes a free one.
        revision: Which revision of a model from the hub.
        device: cpu, cuda, cuda:1; auto takes a GPU when there is one (auto).
        dtype: The numbers to compute with (auto: the model's own on a GPU; on a CPU float32 for
            small models, bfloat16 for large ones).
        load_format: dummy makes random weights of the right shapes, for benchmarks (auto).
        cache_gb: Memory for the cache of keys and values, in gigabytes (what is free on a GPU;
            1 on a CPU).
        context_length: The most tokens of prompt and answer together (the model's own limit).
        max_sequences: How many answers are generated at once; more wait (64).
        prefix_cache: Reuse what is computed for equal beginnings of prompts (yes).
        threads: CPU threads.
        processes: How many processes take requests; they share one engine (1).
        log_level: The least important level that is logged (info).
    """

    config: Path | None = None
    host: str | None = None
    port: int | None = None
    revision: str | None = None
    device: str | None = None
    dtype: Dtype | None = None
    load_format: Literal["auto", "dummy"] | None = None
    cache_gb: float | None = None
    context_length: int | None = None
    max_sequences: int | None = None
    prefix_cache: Annotated[bool | None, Parameter(negative="--no-prefix-cache")] = None
    threads: int | None = None
    processes: int | None = None
    log_level: Literal["debug", "info", "warning", "error"] | None = None


def serve(model: str | None = None, /, *, options: Options | None = None) -> int:
    """Start the server.

    Args:
        model: glimt/nano, which comes with Glimt, or a folder in Hugging Face layout, or a hub id
            such as zai-org/GLM-4.7-Flash, which is downloaded once.
        options: What the command line says.
    """
    options = options or Options()
    overrides: dict[str, object] = {
        "host": options.host,
        "port": options.port,
        "processes": options.processes,
        "log.level": options.log_level,
        "engine.model": model,
        "engine.revision": options.revision,
        "engine.device": options.device,
        "engine.dtype": options.dtype,
        "engine.load_format": options.load_format,
        "engine.cache_gb": options.cache_gb,
        "engine.context_length": options.context_length,
        "engine.max_sequences": options.max_sequences,
        "engine.prefix_cache": options.prefix_cache,
        "engine.threads": options.threads,
    }
    run_server(load(options.config, overrides=overrides))
    return 0
