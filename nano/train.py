"""`python -m nano.train`: train glimt/nano from nothing on the generated corpus.

Knows batching, the two losses, checkpoints and the clock. Knows nothing of how conversations are
made or how the network computes. Runs on a CPU; uses a GPU when there is one.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from nano import export
from nano.corpus.mixture import training
from nano.corpus.rendering import segments
from nano.network import Nano, NanoConfig
from nano.optimizer import Optimizer
from nano.tokenizer import FOLDER

CHUNK = 3000
PREDICTION_WEIGHT = 0.3


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded token ids, which of them the model writes, and the skill of each row."""

    tokens: Tensor
    learned: Tensor
    skills: list[str]


def examples(tokenizer: Tokenizer, seed: int, start: int) -> list[tuple[list[int], list[bool], str]]:
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
        longest = _rounded(len(rows[min(len(rows) - 1, budget // (len(rows[0][0]) + 16))][0]), 16)
        taken = max(1, budget // longest)
        tokens = torch.zeros(taken, longest, dtype=torch.long)
        learned = torch.zeros(taken, longest, dtype=torch.bool)
        for index, (ids, flags, _) in enumerate(rows[:taken]):
            ids, flags = ids[:longest], flags[:longest]
            tokens[index, : len(ids)] = torch.tensor(ids)
            learned[index, : len(ids)] = torch.tensor(flags)
        out.append(Batch(tokens, learned, [row[2] for row in rows[:taken]]))
        rows = rows[taken:]
    random.Random(f"{seed}-{start}").shuffle(out)
    return out


def _rounded(number: int, to: int) -> int:
    return (number + to - 1) // to * to


def _head_loss(network: Nano, hidden: Tensor, tokens: Tensor, wanted: Tensor) -> Tensor:
    """Cross-entropy at the wanted positions, computed on a round number of rows."""
    rows, targets = hidden[wanted], tokens[wanted]
    extra = _rounded(len(rows), 512) - len(rows)
    logits = network.lm_head(F.pad(rows, (0, 0, 0, extra))).float()
    return F.cross_entropy(logits, F.pad(targets, (0, extra), value=-100), reduction="none")[: len(rows)]


def losses(network: Nano, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Loss per written token, the same for the one after it, and the row of each of the first."""
    hidden = network(batch.tokens)
    wanted = F.pad(batch.learned[:, 1:], (0, 1))
    first = _head_loss(network, hidden, batch.tokens.roll(-1, 1), wanted)
    both = F.pad(batch.learned[:, 2:] & batch.learned[:, 1:-1], (0, 2))
    second_hidden = network.predict_second(batch.tokens, hidden)
    second = _head_loss(network, second_hidden, batch.tokens.roll(-2, 1), both)
    return first, second.mean(), wanted.nonzero()[:, 0]


class Trainer:
    """A run: network, optimizer, position in the corpus and elapsed time."""

    def __init__(self, options: argparse.Namespace) -> None:
        torch.manual_seed(options.seed)
        self.options = options
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.tokenizer = Tokenizer.from_file(str(options.folder / "tokenizer.json"))
        self.network = Nano(NanoConfig(vocab_size=self.tokenizer.get_vocab_size())).to(self.device)
        self.optimizer = Optimizer(self.network)
        self.step = self.chunk = self.seen = 0
        self.elapsed = 0.0
        self.recent: dict[str, list[float]] = defaultdict(list)
        if options.checkpoint.exists() and not options.restart:
            self._resume(torch.load(options.checkpoint, map_location=self.device, weights_only=True))

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

    def stream(self) -> Iterator[Batch]:
        """Batches without end; their size grows with the run."""
        while True:
            small, large = self.options.tokens // 2, self.options.tokens
            budget = small if self.progress < 0.15 else large
            chunk = batches(self.tokenizer, self.options.seed, self.chunk * CHUNK, budget)
            self.chunk += 1
            yield from chunk

    def train_step(self, batch: Batch) -> None:
        """One gradient step."""
        batch = Batch(batch.tokens.to(self.device), batch.learned.to(self.device), batch.skills)
        with torch.autocast(self.device, dtype=torch.bfloat16):
            first, second, rows = losses(self.network, batch)
        (first.mean() + PREDICTION_WEIGHT * second).backward()
        self.optimizer.step(self.progress)
        for router in self.network.routers():
            router.rebalance(0.002 * (1 - min(1.0, self.progress)))
        self.recent["second"].append(second.item())
        sums = torch.zeros(len(batch.skills), device=self.device).index_add(0, rows, first.detach())
        counts = torch.bincount(rows, minlength=len(batch.skills))
        for skill, total, count in zip(batch.skills, sums.tolist(), counts.tolist(), strict=True):
            self.recent[skill].append(total / max(1, count))

    def report(self) -> None:
        """Print the mean losses since the last report."""
        parts = [f"{name} {sum(v) / len(v):.3f}" for name, v in sorted(self.recent.items())]
        speed = self.seen / max(1e-9, self.elapsed)
        print(
            f"{self.elapsed / 60:6.2f} min  step {self.step}  {self.seen / 1e6:.2f}M tokens "
            f"{speed:.0f}/s  " + "  ".join(parts), flush=True,
        )  # fmt: skip
        self.recent.clear()

    def run(self) -> None:
        """Train until the plan is fulfilled, saving now and then."""
        self.network.train()
        last_save = last_report = self.elapsed
        begun = time.monotonic() - self.elapsed
        for batch in self.stream():
            self.train_step(batch)
            self.step += 1
            self.seen += batch.tokens.numel()
            self.elapsed = time.monotonic() - begun
            if self.elapsed - last_report > self.options.report_s:
                self.report()
                last_report = self.elapsed
            if self.elapsed - last_save > 120 or self.progress >= 1:
                self.save()
                last_save = self.elapsed
            if self.progress >= 1:
                return


def main() -> None:
    """Train, then write the shipped folder."""
    parser = argparse.ArgumentParser(description="Train glimt/nano.")
    parser.add_argument("--seed", type=int, default=47)
    parser.add_argument("--minutes", type=float, default=75.0)
    parser.add_argument("--steps", type=int, default=0, help="instead of minutes")
    parser.add_argument("--tokens", type=int, default=8192, help="tokens in a batch")
    parser.add_argument("--checkpoint", type=Path, default=Path("build/nano/checkpoint.pt"))
    parser.add_argument("--restart", action="store_true", help="ignore an existing checkpoint")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--report-s", type=float, default=20.0)
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
