"""Draws as tensors: weights of the tokens, and one attempt after another.

`top_p` is exact without a sort: a token outside the set is rejected, together with all that are no
more likely, and the draw repeated among the others. That takes few attempts, since one is accepted
with probability `top_p` or more. Whoever may wait for the device goes on until every row has its
token; whoever may not makes `ROUNDS` attempts and leaves the rest undecided.

Knows numbers of rows; neither sequences nor who asked (sampler).
"""

import math
import struct
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import torch
from torch import Tensor

from glimt.engine.messages import SamplingParams
from glimt.engine.transfer import upload

ROUNDS: Final = 4
"""Attempts without a look at their outcome. With a `top_p` of 0.95 they all fail once in 160 000
draws at worst; what a failure costs is told in `pipeline`."""

BROKEN: Final = -1
"""In place of a token: the logits were not finite, so nothing can be drawn."""
UNDECIDED: Final = -2
"""In place of a token: every attempt was rejected."""


def uniform(seed: int, position: int, attempt: int) -> float:
    """A number in [0, 1) that a row's seed, position and attempt determine."""
    counter = struct.pack("<QQQ", seed, position, attempt)
    return int.from_bytes(blake2b(counter, digest_size=8).digest(), "little") * 2.0**-64


@dataclass(slots=True)
class Odds:
    """How some rows are to be drawn, each a column of as many rows. `None` where no row cares.

    Attributes:
        inverse_temperature: float32 [N, 1].
        top_p: float32 [N, 1]: infinity, which is beyond all rounding, where nothing is to be cut.
        min_p: float32 [N, 1].
        top_k: int64 [N, 1], the rank of the last token kept.
        has_top_k: float32 [N, 1]: 0 makes nothing of a rank that was not asked for.
        max_k: The largest `top_k`.
    """

    inverse_temperature: Tensor
    top_p: Tensor | None = None
    min_p: Tensor | None = None
    top_k: Tensor | None = None
    has_top_k: Tensor | None = None
    max_k: int = 0

    @classmethod
    def of(cls, settings: list[SamplingParams], device: torch.device) -> "Odds":
        """What these rows ask for."""

        def column(values: list[float]) -> Tensor:
            return upload(values, device, torch.float32).unsqueeze(-1)

        odds = cls(column([1 / s.temperature for s in settings]))
        if any(s.top_p < 1 for s in settings):
            odds.top_p = column([s.top_p if s.top_p < 1 else torch.inf for s in settings])
        if any(s.min_p for s in settings):
            odds.min_p = column([s.min_p for s in settings])
        odds.max_k = max(s.top_k for s in settings)
        if odds.max_k:
            odds.top_k = upload([max(s.top_k, 1) - 1 for s in settings], device).unsqueeze(-1)
            odds.has_top_k = column([float(s.top_k > 0) for s in settings])
        return odds


def weigh(logits: Tensor, odds: Odds, *, weights: Tensor, spare: Tensor) -> None:
    """Put into `weights` how likely each token is; 0 for what `min_p` and `top_k` leave out.

    Args:
        logits: float32 [N, vocab_size].
        weights: As large; overwritten.
        spare: As large; overwritten.
    """
    torch.mul(logits, odds.inverse_temperature, out=spare)
    torch.softmax(spare, dim=-1, out=weights)
    floor = None
    if odds.min_p is not None:
        floor = weights.amax(dim=-1, keepdim=True) * odds.min_p
    if odds.top_k is not None and odds.has_top_k is not None:
        best = weights.topk(min(odds.max_k, weights.shape[-1]), dim=-1).values
        least = best.gather(-1, odds.top_k.clamp(max=best.shape[-1] - 1)) * odds.has_top_k
        floor = least if floor is None else torch.maximum(floor, least)
    if floor is not None:
        weights.mul_(torch.ge(weights, floor, out=spare))


def attempt(
    weights: Tensor, cumulative: Tensor, target: Tensor, *, limit: Tensor | None, spare: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Invert the cumulative distribution once.

    Args:
        weights: float32 [N, vocab_size].
        cumulative: Their running sum.
        target: float32 [N, 1] in [0, 1).
        limit: float32 [N, 1]: a token is rejected if those more likely weigh as much.
        spare: As large as `weights`; overwritten.

    Returns:
        Tokens, their weights, and whether they are accepted: [N, 1] each.
    """
    choices = torch.searchsorted(cumulative, target * cumulative[:, -1:], right=True)
    choices.clamp_(max=weights.shape[-1] - 1)
    weight = weights.gather(-1, choices)
    accepted = weight > 0
    if limit is not None:
        torch.gt(weights, weight, out=spare)
        accepted &= spare.mul_(weights).sum(dim=-1, keepdim=True) < limit
    return choices, weight, accepted


def draw_blindly(logits: Tensor, odds: Odds, targets: Tensor) -> Tensor:
    """One token for each row, without waiting for the device.

    Args:
        logits: float32 [N, vocab_size].
        targets: float32 [N, attempts], what `uniform` gives for each.

    Returns:
        int64 [N]; `UNDECIDED` where every attempt was rejected.
    """
    weights, spare = torch.empty_like(logits), torch.empty_like(logits)
    weigh(logits, odds, weights=weights, spare=spare)
    cumulative = weights.cumsum(dim=-1)
    limit = None if odds.top_p is None else cumulative[:, -1:] * odds.top_p
    tokens = targets.new_full((len(targets), 1), UNDECIDED, dtype=torch.int64)
    for index in range(targets.shape[1]):
        target = targets[:, index : index + 1]
        choices, weight, accepted = attempt(weights, cumulative, target, limit=limit, spare=spare)
        tokens = torch.where((tokens < 0) & accepted, choices, tokens)
        weights.mul_(torch.gt(weights, weight, out=spare))
        torch.cumsum(weights, dim=-1, out=cumulative)
    return tokens.flatten()


@dataclass(slots=True)
class Lots:
    """How a recorded step draws each of its rows, as numbers, because a recording has no branches.

    Attributes:
        numbers: float32 [rows, `NUM_NUMBERS`], on the host: inverse temperature, 0 for the most
            likely token; `top_p`, infinity for none; `min_p`; then what `uniform` gives for each
            attempt.
        are_random: Whether any row is not greedy.
    """

    numbers: Tensor
    are_random: bool

    @classmethod
    def of(cls, rows: list[list[float]], *, are_random: bool) -> "Lots":
        """Those of a step."""
        return cls(torch.tensor(rows, dtype=torch.float32), are_random)


NUM_NUMBERS: Final = 3 + ROUNDS
GREEDY: Final = [0.0, math.inf, 0.0, *[0.0] * ROUNDS]
"""The numbers of a row that takes the most likely token."""


def numbers_of(settings: SamplingParams, seed: int, position: int) -> list[float]:
    """The numbers of a row that draws at random; `top_k` is not among them."""
    targets = [uniform(seed, position, number) for number in range(ROUNDS)]
    top_p = settings.top_p if settings.top_p < 1 else math.inf
    return [1 / settings.temperature, top_p, settings.min_p, *targets]


def draw_by_numbers(logits: Tensor, numbers: Tensor | None, known: Tensor) -> Tensor:
    """One token for each row, by operations that are the same for all settings.

    Args:
        logits: float32 [N, vocab_size].
        numbers: float32 [N, `NUM_NUMBERS`] as in `Lots`; `None` if all rows are greedy.
        known: bool [N]: whether the tokens so far are all real.

    Returns:
        int64 [N]; `BROKEN` and `UNDECIDED` in place of tokens that are none.
    """
    peaks, tokens = logits.max(dim=-1)
    if numbers is not None:
        odds = Odds(numbers[:, 0:1], top_p=numbers[:, 1:2], min_p=numbers[:, 2:3])
        drawn = draw_blindly(logits, odds, numbers[:, 3:])
        tokens = torch.where(numbers[:, 0] > 0, drawn, tokens)
    return tokens.masked_fill(~(peaks.isfinite() & known), BROKEN)
