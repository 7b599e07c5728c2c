"""`python -m nano.train`: train glimt/nano from nothing on the generated corpus.

Knows batching, the two losses, checkpoints and the clock. Knows nothing of how conversations are
made or how the network computes. Runs on a CPU; uses a GPU when there is one.

On a CPU, one single-threaded process per core takes small batches from a common counter until the
step is full: measured faster than one process with several threads, whose thousands of little
parallel regions stall as soon as another program wants a core.
"""

from __future__ import annotations

import argparse
import os
import random
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing as processes
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - its usual name

from nano import export
from nano.corpus.mixture import WEIGHTS, training
from nano.corpus.rendering import segments
from nano.corpus.sample import LANGUAGES
from nano.network import Nano, NanoConfig
from nano.optimizer import Optimizer
from nano.tokenizer import FOLDER

CHUNK = 3000
SKILLS = sorted(f"{skill}-{language}" for skill in WEIGHTS for language in LANGUAGES)
PREDICTION_WEIGHT = 0.3


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded token ids, which of them the model writes, and the skill of each row."""

    tokens: Tensor
    learned: Tensor
    skills: list[str]


def examples(
    tokenizer: Tokenizer, seed: int, start: int
) -> list[tuple[list[int], list[bool], str]]:
    """One chunk of conversations as ids and flags."""
    found = []
    for conversation in training(seed, start, CHUNK):
        pieces = segments(conversation)
        encoded = tokenizer.encode_batch([text for text, _ in pieces], add_special_tokens=False)
        ids, flags = [], []
        for (_, learned), encoding in zip(pieces, encoded, strict=True):
            ids += encoding.ids
            flags += [learned] * len(encoding.ids)
        found.append((ids, flags, f"{conversation.skill}-{conversation.language}"))
    return found


def batches(tokenizer: Tokenizer, seed: int, start: int, budget: int) -> list[Batch]:
    """The chunk cut into batches of similar lengths with about `budget` tokens each."""
    rows = sorted(examples(tokenizer, seed, start), key=lambda row: len(row[0]))
    out: list[Batch] = []
    while rows:
        # Few distinct shapes: kernels are compiled per shape on a CPU.
        longest = _rounded(len(rows[min(len(rows) - 1, budget // (len(rows[0][0]) + 8))][0]), 16)
        taken = max(1, min(len(rows), budget // longest))
        tokens = torch.zeros(taken, longest, dtype=torch.long)
        learned = torch.zeros(taken, longest, dtype=torch.bool)
        for index, (ids, flags, _) in enumerate(rows[:taken]):
            kept = min(len(ids), longest)
            tokens[index, :kept] = torch.tensor(ids[:kept])
            learned[index, :kept] = torch.tensor(flags[:kept])
        out.append(Batch(tokens, learned, [row[2] for row in rows[:taken]]))
        rows = rows[taken:]
    random.Random(f"{seed}-{start}").shuffle(out)
    return out


def _rounded(number: int, to: int) -> int:
    return (number + to - 1) // to * to


def _head_loss(network: Nano, hidden: Tensor, tokens: Tensor, wanted: Tensor) -> Tensor:
    """Cross-entropy at the wanted positions, computed on a round number of rows."""
    rows, targets = hidden[wanted], tokens[wanted]
    extra = _rounded(len(rows), 128) - len(rows)
    logits = network.lm_head(F.pad(rows, (0, 0, 0, extra))).float()
    return F.cross_entropy(logits, F.pad(targets, (0, extra), value=-100), reduction="none")[
        : len(rows)
    ]


def losses(network: Nano, batch: Batch, *, prediction: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Loss per written token, the same one token further, and the row of each of the former."""
    hidden = network(batch.tokens)
    wanted = F.pad(batch.learned[:, 1:], (0, 1))
    first = _head_loss(network, hidden, batch.tokens.roll(-1, 1), wanted)
    if not prediction:
        return first, first.new_zeros(0), wanted.nonzero()[:, 0]
    both = F.pad(batch.learned[:, 2:] & batch.learned[:, 1:-1], (0, 2))
    second_hidden = network.predict_second(batch.tokens, hidden)
    second = _head_loss(network, second_hidden, batch.tokens.roll(-2, 1), both)
    return first, second, wanted.nonzero()[:, 0]


class Shared:
    """What the processes of a run have in common, in shared memory."""

    def __init__(self, network: Nano, count: int) -> None:
        self.count = count
        self.parameters = _flat(list(network.parameters())).share_memory_()
        self.gradients = torch.zeros(count, self.parameters.numel()).share_memory_()
        self.biases = torch.stack(
            [r.e_score_correction_bias for r in network.routers()]
        ).share_memory_()
        self.loads = torch.zeros(count, *self.biases.shape).share_memory_()
        self.losses = torch.zeros(count, 2, len(SKILLS) + 1, dtype=torch.float64).share_memory_()
        context = processes.get_context("spawn")
        self.begin, self.end = context.Barrier(count), context.Barrier(count)
        self.next = context.Value("q", 0)
        self.width = context.Value("q", 0)
        self.every = context.Value("q", 1)

    def take(self) -> int:
        """The next batch of this step that nobody has taken."""
        with self.next.get_lock():
            self.next.value += 1
            return self.next.value - 1


def _flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().reshape(-1).float().cpu() for tensor in tensors])


def _spread(network: Nano, flat: Tensor, target: str) -> None:
    """Make parameters or gradients views of a flat tensor."""
    start = 0
    for parameter in network.parameters():
        view = flat[start : start + parameter.numel()].view_as(parameter)
        if target == "parameters":
            parameter.data = view
        else:
            parameter.grad = view
        start += parameter.numel()


def stream(options: argparse.Namespace, chunk: int) -> Iterator[tuple[int, Batch]]:
    """Small batches without end, each with the number of its chunk; the same in every process."""
    tokenizer = Tokenizer.from_file(str(options.folder / "tokenizer.json"))
    while True:
        for batch in batches(tokenizer, options.seed, chunk * CHUNK, options.tokens):
            yield chunk, batch
        chunk += 1


def contribute(network: Nano, shared: Shared, rank: int, group: list[Batch]) -> None:
    """Add the gradients of the batches this process gets hold of."""
    device = network.lm_head.weight.device.type
    total = sum(int(batch.learned[:, 1:].sum()) for batch in group)
    every = shared.every.value
    total_second = sum(
        int((batch.learned[:, 2:] & batch.learned[:, 1:-1]).sum()) for batch in group[::every]
    )
    while (index := shared.take()) < len(group):
        batch = group[index]
        moved = Batch(batch.tokens.to(device), batch.learned.to(device), batch.skills)
        with torch.autocast(device, dtype=torch.bfloat16):
            first, second, rows = losses(network, moved, prediction=index % every == 0)
        (first.sum() / total + PREDICTION_WEIGHT * second.sum() / total_second).backward()
        columns = torch.tensor([SKILLS.index(skill) for skill in batch.skills])[rows.cpu()]
        found = shared.losses[rank]
        found[0].index_add_(0, columns, first.detach().double().cpu())
        found[1].index_add_(0, columns, torch.ones(len(columns), dtype=torch.float64))
        found[0, -1] += second.detach().sum().item()
        found[1, -1] += second.numel()
    for layer, router in enumerate(network.routers()):
        shared.loads[rank, layer] = router.load.cpu()
        router.load.zero_()


def helper(rank: int, options: argparse.Namespace, shared: Shared, chunk: int) -> None:
    """A second process: the same stream, its own share of every step."""
    torch.set_num_threads(1)
    network = Nano(NanoConfig(vocab_size=options.vocabulary)).train()
    _spread(network, shared.parameters, "parameters")
    _spread(network, shared.gradients[rank], "gradients")
    waiting = stream(options, chunk)
    while True:
        shared.begin.wait()
        if shared.width.value == 0:
            return
        group = [next(waiting)[1] for _ in range(shared.width.value)]
        for layer, router in enumerate(network.routers()):
            router.e_score_correction_bias.copy_(shared.biases[layer])
        contribute(network, shared, rank, group)
        shared.end.wait()


class Trainer:
    """A run: network, optimizer, position in the corpus and elapsed time."""

    def __init__(self, options: argparse.Namespace) -> None:
        torch.manual_seed(options.seed)
        self.options = options
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        count = 1 if self.device == "cuda" else options.processes
        if self.device == "cpu":
            torch.set_num_threads(1)
        tokenizer = Tokenizer.from_file(str(options.folder / "tokenizer.json"))
        options.vocabulary = tokenizer.get_vocab_size()
        self.network = Nano(NanoConfig(vocab_size=options.vocabulary)).to(self.device).train()
        self.optimizer = Optimizer(self.network)
        self.step = self.chunk = self.seen = 0
        self.elapsed = 0.0
        if options.checkpoint.exists() and not options.restart:
            self._resume(
                torch.load(options.checkpoint, map_location=self.device, weights_only=True)
            )
        self.shared = Shared(self.network, count)
        if count > 1:
            _spread(self.network, self.shared.parameters, "parameters")
        self.speed: deque[tuple[float, int]] = deque(maxlen=30)

    def _resume(self, saved: dict[str, Any]) -> None:
        self.network.load_state_dict(saved["network"])
        self.optimizer.load(saved["optimizer"])
        self.step, self.chunk, self.seen = saved["step"], saved["chunk"], saved["seen"]
        self.elapsed = saved["elapsed"]
        print(f"resumed at step {self.step}, {self.elapsed / 60:.1f} min", flush=True)

    def save(self) -> None:
        """Write the checkpoint through a temporary file, so an interruption keeps the old one."""
        saved = {
            "network": self.network.state_dict(), "optimizer": self.optimizer.state(),
            "config": self.network.config.to_dict(), "step": self.step, "chunk": self.chunk,
            "seen": self.seen, "elapsed": self.elapsed,
        }  # fmt: skip
        self.options.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.options.checkpoint.with_suffix(".part")
        torch.save(saved, temporary)
        temporary.replace(self.options.checkpoint)

    @property
    def progress(self) -> float:
        """How much of the planned run is done."""
        if self.options.steps:
            return self.step / self.options.steps
        return self.elapsed / (60 * self.options.minutes)

    def train_step(self, group: list[Batch]) -> None:
        """One gradient step over a group of batches, shared among the processes."""
        shared = self.shared
        shared.width.value = len(group)
        shared.next.value = 0
        # The second prediction costs a quarter of a step; early on a few batches of it suffice.
        shared.every.value = 4 if self.progress < 0.8 else 2
        shared.begin.wait()
        if shared.count > 1:
            _spread(self.network, shared.gradients[0], "gradients")
        contribute(self.network, shared, 0, group)
        shared.end.wait()
        if shared.count > 1:
            shared.gradients[0] += shared.gradients[1:].sum(0)
        self.optimizer.step(self.progress)
        shared.gradients.zero_()
        rate = 0.002 * (1 - min(1.0, self.progress))
        for layer, router in enumerate(self.network.routers()):
            router.load.copy_(shared.loads[:, layer].sum(0))
            router.rebalance(rate)
            shared.biases[layer] = router.e_score_correction_bias.cpu()

    def report(self) -> None:
        """Print the mean losses since the last report."""
        total, count = self.shared.losses.sum(0)
        parts = [
            f"{name} {total[i] / count[i]:.3f}" for i, name in enumerate([*SKILLS, "second"]) if count[i]
        ]  # fmt: skip
        self.shared.losses.zero_()
        (start, before), (stop, after) = self.speed[0], self.speed[-1]
        print(
            f"{self.elapsed / 60:6.2f} min  step {self.step}  {self.seen / 1e6:.2f}M tokens "
            f"{(after - before) / max(1e-9, stop - start):.0f}/s  " + "  ".join(parts), flush=True,
        )  # fmt: skip

    def run(self) -> None:
        """Start the helpers and train until the plan is fulfilled."""
        context = processes.get_context("spawn")
        helpers = [
            context.Process(
                target=helper, args=(rank, self.options, self.shared, self.chunk), daemon=True
            )
            for rank in range(1, self.shared.count)
        ]
        for process in helpers:
            process.start()
        try:
            self._loop()
        finally:
            self.shared.width.value = 0
            self.shared.begin.abort() if self.progress < 1 else self.shared.begin.wait()

    def _loop(self) -> None:
        last_save = last_report = self.elapsed
        begun = time.monotonic() - self.elapsed
        waiting = stream(self.options, self.chunk)
        while self.progress < 1:
            width = self.options.group // 2 if self.progress < 0.1 else self.options.group
            drawn = [next(waiting) for _ in range(width)]
            self.chunk = drawn[-1][0]
            self.train_step([batch for _, batch in drawn])
            self.step += 1
            self.seen += sum(batch.tokens.numel() for _, batch in drawn)
            self.elapsed = time.monotonic() - begun
            self.speed.append((self.elapsed, self.seen))
            if self.elapsed - last_report > self.options.report_s:
                self.report()
                last_report = self.elapsed
            if self.elapsed - last_save > 120 or self.progress >= 1:
                self.save()
                last_save = self.elapsed


def main() -> None:
    """Train, then write the shipped folder."""
    parser = argparse.ArgumentParser(description="Train glimt/nano.")
    parser.add_argument("--seed", type=int, default=47)
    parser.add_argument("--minutes", type=float, default=75.0)
    parser.add_argument("--steps", type=int, default=0, help="instead of minutes")
    parser.add_argument("--tokens", type=int, default=2048, help="tokens in a small batch")
    parser.add_argument("--group", type=int, default=4, help="small batches in a step")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--checkpoint", type=Path, default=Path("build/nano/checkpoint.pt"))
    parser.add_argument("--restart", action="store_true", help="ignore an existing checkpoint")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--report-s", type=float, default=30.0)
    parser.add_argument("--no-export", action="store_true")
    options = parser.parse_args()
    trainer = Trainer(options)
    trainer.run()
    trainer.report()
    if not options.no_export:
        size = export.write(trainer.network.cpu().eval(), options.folder)
        print(f"{size / 1e6:.1f} MB of weights written to {options.folder}")


if __name__ == "__main__":
    main()
