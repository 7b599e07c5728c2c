"""What speculation brings: how many guesses are right, and how much faster answers come.

More than 200 prompts are answered greedily with and without it, group by group in turns, on one
runner in one process; the tokens must be the same, or the benchmark fails. Seconds are CPU time of
the only thread (wall time on a GPU), of several rounds the shortest for each group. Answers that
end early count as they are. The last line of stdout is one JSON document.

    python benchmarks/speculation.py [--model FOLDER] [--concurrency 1 2 4 8] [--rounds 3]
"""

import argparse
import json
import math
import platform
import sys
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from glimt.core.parts import Message, TextPart
from glimt.core.request import Request, Thinking
from glimt.engine.chat.template import ChatTemplate
from glimt.engine.chat.tokenizer import Tokenizer
from glimt.engine.core import EngineCore
from glimt.engine.messages import Output, SamplingParams, Stats, Submit
from glimt.engine.runner import Runner
from glimt.engine.settings import EngineSettings

QUESTIONS = (
    "What is {a} plus {b}?",
    "Vera has {a} pencils and picks up {b} more. How many pencils does Vera have?",
    "What is {b} minus {a}? Explain every step.",
    "Quantity: {a}. I live in Riga. Put this into JSON with the fields quantity and city.",
    "Order #{b}{a}, one blender for {b} euros. Which item and price? Answer as JSON only.",
    "Ana is {b} years old and works as a nurse. What is the job? Respond with JSON.",
    "Classify as neutral, positive or negative: table {a} was dirty and the food was cold!",
    "Intent (technical, delivery, cancel, greeting, refund): where is parcel {b}?",
    "On which port does Glimt listen, and how do I make it {a}{b}?",
    "What does `glimt models` do? Answer in at most {b} words.",
    "How do I give Glimt {a} threads?",
    "Compose a poem of {a} lines about the sea.",
    "Describe yourself in {b} words.",
)
NUMBERS = ((3, 14), (8, 20), (9, 27), (12, 31), (17, 45), (25, 52), (33, 61), (41, 78))


def prompts(folder: Path) -> list[list[int]]:
    """Every question with every pair of numbers, with and without thinking, in token ids."""
    template = ChatTemplate.load(folder, Tokenizer.load(folder))
    found: list[list[int]] = []
    for question in QUESTIONS:
        for a, b in NUMBERS:
            for enabled in (False, True):
                message = Message(role="user", parts=(TextPart(question.format(a=a, b=b)),))
                request = Request(model="", messages=(message,), thinking=Thinking(enabled=enabled))
                found.append(template.render(request).ids)
    return found


def answer(
    core: EngineCore, group: list[list[int]], *, sampling: SamplingParams, now: Callable[[], float]
) -> tuple[list[list[int]], float]:
    """The answers to a group of prompts asked at once, and the seconds they took."""
    started = now()
    for id_, prompt in enumerate(group):
        refused = core.add(0, Submit(id=id_, prompt=prompt, sampling=sampling))
        assert refused is None, refused
    answers: list[list[int]] = [[] for _ in group]
    while core.has_work():
        for _, report in core.step():
            if isinstance(report, Output):
                answers[report.id] += report.tokens
    return answers, now() - started


def measure(
    runner: Runner, groups: list[list[list[int]]], *, sampling: SamplingParams, rounds: int
) -> dict[str, Any]:
    """Rates with and without, their ratio, and what became of the guesses."""
    is_cpu = runner.pool.device.type == "cpu"
    now = time.thread_time if is_cpu else time.perf_counter
    seconds, num_tokens, num_different = {"off": 0.0, "on": 0.0}, 0, 0
    cores = {
        mode: EngineCore(
            runner,
            EngineSettings(
                prefix_cache=False, speculation=mode, speculation_max_sequences=len(groups[0])
            ),
            context_length=runner.config.context_length,
            guesser=runner,
        )
        for mode in ("off", "on")
    }
    for group in groups:
        best = dict.fromkeys(cores, math.inf)
        answers: dict[str, list[list[int]]] = {}
        for _ in range(rounds):
            for mode, core in cores.items():
                answers[mode], spent_s = answer(core, group, sampling=sampling, now=now)
                best[mode] = min(best[mode], spent_s)
        for mode in cores:
            seconds[mode] += best[mode]
        num_tokens += sum(map(len, answers["off"]))
        num_different += sum(a != b for a, b in zip(*answers.values(), strict=True))
    stats: Stats = cores["on"].stats()
    num_guesses = stats.accepted_drafts_total + stats.rejected_drafts_total
    return {
        "prompts": sum(map(len, groups)),
        "different": num_different,
        "tokens": num_tokens,
        "acceptance": round(stats.accepted_drafts_total / max(1, num_guesses), 3),
        "tokens_a_step": round(
            cores["off"].stats().steps_total / cores["on"].stats().steps_total, 3
        ),
        "tokens_a_second_without": round(num_tokens / seconds["off"], 1),
        "tokens_a_second_with": round(num_tokens / seconds["on"], 1),
        "speed_ratio": round(seconds["off"] / seconds["on"], 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path(str(files("glimt") / "models/nano")))
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--prompts", type=int, help="how many of them; all by default")
    options = parser.parse_args()
    torch.set_num_threads(1)
    runner = Runner.load(EngineSettings(cache_gb=0.2), options.model)
    sampling = SamplingParams(
        temperature=0.0, max_tokens=options.max_tokens, stop_token_ids=runner.stop_token_ids
    )
    all_prompts = prompts(options.model)
    all_prompts = all_prompts[:: max(1, len(all_prompts) // (options.prompts or len(all_prompts)))]
    results: dict[int, dict[str, Any]] = {}
    print(f"{'at once':>8}{'accepted':>10}{'a step':>8}{'without':>9}{'with':>9}{'ratio':>7}")
    for size in options.concurrency:
        groups = [all_prompts[i : i + size] for i in range(0, len(all_prompts), size)]
        found = measure(runner, groups, sampling=sampling, rounds=options.rounds)
        results[size] = found
        print(
            f"{size:8}{found['acceptance']:10.1%}{found['tokens_a_step']:8.2f}"
            f"{found['tokens_a_second_without']:9.0f}{found['tokens_a_second_with']:9.0f}"
            f"{found['speed_ratio']:7.2f}",
            flush=True,
        )
    machine = {"processor": platform.machine(), "torch": torch.__version__}
    document = {"device": str(runner.pool.device), "at_once": results, **machine}
    print(json.dumps({"benchmark": "speculation", **document}))
    if any(found["different"] for found in results.values()):
        sys.exit("answers differ with and without speculation")


if __name__ == "__main__":
    main()
