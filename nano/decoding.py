"""Greedy decoding with the training network, many prompts at once.

Knows the latent cache and padding on the left. Knows nothing of text or skills. It exists to look at
a checkpoint while training; serving is the engine's work.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from nano.export import load_checkpoint, stop_ids
from nano.network import LatentCache, Nano


@torch.no_grad()
def greedy(
    network: Nano, prompts: list[list[int]], stops: set[int], limit: int = 160
) -> list[list[int]]:
    """The most likely continuation of each prompt, without the tag that ended it."""
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    found: dict[int, list[int]] = {}
    for part in _parts(order, prompts):
        replies = _greedy_batch(network, [prompts[index] for index in part], stops, limit)
        found.update(zip(part, replies, strict=True))
    return [found[index] for index in range(len(prompts))]


def _parts(order: list[int], prompts: list[list[int]]) -> Iterator[list[int]]:
    while order:
        count = max(8, min(100, 16000 // (len(prompts[order[min(len(order), 64) - 1]]) + 1)))
        yield order[:count]
        order = order[count:]


def _greedy_batch(
    network: Nano, prompts: list[list[int]], stops: set[int], limit: int
) -> list[list[int]]:
    config, count = network.config, len(prompts)
    longest = max(len(prompt) for prompt in prompts)
    tokens = torch.zeros(count, longest, dtype=torch.long)
    padding = torch.tensor([longest - len(prompt) for prompt in prompts])
    for row, prompt in enumerate(prompts):
        tokens[row, longest - len(prompt) :] = torch.tensor(prompt)
    total = longest + limit
    caches = [
        LatentCache(
            torch.zeros(count, total, config.kv_lora_rank),
            torch.zeros(count, total, config.qk_rope_head_dim),
        )
        for _ in range(config.num_hidden_layers)
    ]
    columns = torch.arange(total)
    real = columns[None, :] >= padding[:, None]
    causal = columns[None, :longest] <= columns[:longest, None]
    # A padding row would see nothing at all; letting it see itself keeps its softmax finite.
    own = torch.eye(longest, dtype=torch.bool)
    mask = ((causal[None] & real[:, None, :longest]) | own)[:, None]
    positions = (columns[None, :longest] - padding[:, None]).clamp(min=0)
    hidden = network(tokens, positions, caches, mask)
    replies: list[list[int]] = [[] for _ in prompts]
    going = torch.ones(count, dtype=torch.bool)
    for step in range(limit):
        chosen = network.lm_head(hidden[:, -1]).argmax(-1)
        _collect(replies, chosen, going, stops)
        if not going.any() or step == limit - 1:
            break
        end = longest + step
        positions = (end - padding)[:, None]
        hidden = network(chosen[:, None], positions, caches, real[:, None, None, : end + 1])
    return replies


def _collect(replies: list[list[int]], chosen: Tensor, going: Tensor, stops: set[int]) -> None:
    for row, token in enumerate(chosen.tolist()):
        if not going[row]:
            continue
        if token in stops:
            going[row] = False
        else:
            replies[row].append(token)


@torch.no_grad()
def drafts_accepted(
    network: Nano, prompts: list[list[int]], replies: list[list[int]]
) -> tuple[int, int]:
    """How many greedy drafts of the prediction layer equal what the model then wrote, and of how many."""
    agreed = total = 0
    for prompt, reply in zip(prompts, replies, strict=True):
        if len(reply) < 3:
            continue
        tokens = torch.tensor([prompt + reply])
        states = network.predict_second(tokens, network(tokens))
        drafts = network.lm_head(states[0, len(prompt) - 1 : -2]).argmax(-1)
        agreed += int((drafts == tokens[0, len(prompt) + 1 :]).sum())
        total += len(drafts)
    return agreed, total


def complete(
    checkpoint: Path, folder: Path, prompts: list[str], *, threads: int
) -> tuple[list[str], str]:
    """Raw replies of a checkpoint, and how many of the second predictions came true."""
    torch.set_num_threads(threads)
    network = load_checkpoint(checkpoint)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    encoded = [tokenizer.encode(text, add_special_tokens=False).ids for text in prompts]
    outputs = greedy(network, encoded, set(stop_ids(network.config)))
    few = slice(0, None, max(1, len(prompts) // 40))
    agreed, total = drafts_accepted(network, encoded[few], outputs[few])
    return [
        tokenizer.decode(ids, skip_special_tokens=False) for ids in outputs
    ], f"{agreed}/{total}"
