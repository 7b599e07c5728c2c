"""A whole server with random weights under rising load, for benchmarks/gpu.py.

The folder has a configuration alone; nano lends its template and its tokenizer, filled up to the
size of the vocabulary, so that whatever a random network says is text.
"""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.serving import running_server
from glimt.bench.client import ChatServer
from glimt.bench.load import Bench, Shape
from glimt.bench.report import summarize
from glimt.core.clock import SystemClock

NANO = Path(__file__).resolve().parents[1] / "src/glimt/models/nano"


def lend_tokenizer(folder: Path, vocab_size: int) -> None:
    """Put a tokenizer and a template beside a configuration."""
    for name in ("chat_template.jinja", "tokenizer_config.json"):
        shutil.copy(NANO / name, folder / name)
    document = json.loads((NANO / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = document["model"]["vocab"]
    # Added tokens that are not among the others get numbers behind them.
    vocabulary |= {token["content"]: token["id"] for token in document["added_tokens"]}
    missing = set(range(vocab_size)) - set(vocabulary.values())
    vocabulary |= {f"w{number}x": number for number in missing}
    (folder / "tokenizer.json").write_text(json.dumps(document), encoding="utf-8")


def sweep(
    folder: Path,
    settings: dict[str, object],
    *,
    levels: tuple[int, ...],
    prompt_tokens: int,
    output_tokens: int,
) -> list[dict[str, Any]]:
    """What clients see, for each number of them: as many requests as clients, twice at most."""
    settings = {"ENGINE__MODEL": folder, "ENGINE__LOAD_FORMAT": "dummy"} | settings
    with running_server(settings) as (url, _):
        return asyncio.run(_measure(url, levels, prompt_tokens, output_tokens))


async def _measure(
    url: str, levels: tuple[int, ...], prompt_tokens: int, output_tokens: int
) -> list[dict[str, Any]]:
    async with ChatServer(url) as server:
        (model, *_) = await server.models()
        shape = Shape(
            model=model.id,
            prompt_tokens=prompt_tokens,
            output_tokens=output_tokens,
            temperature=1.0,
        )
        load = await Bench.prepare(server, shape, SystemClock())
        reports: list[dict[str, Any]] = []
        for level in levels:
            report = summarize(await load.run(level, max(4, min(2 * level, level + 64))))
            reports.append(msgspec.to_builtins(report))
            print(
                f"{level:>5} clients{report.output_tokens_per_s:>10.0f} tok/s"
                f"{report.first_token_ms.p50:>10.0f} ms to the first"
                f"{report.per_token_ms.p50:>8.2f} ms a token{report.num_errors:>4} errors"
            )
        return reports
