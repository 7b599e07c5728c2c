"""From logits to tokens: what each request asked for, for the whole batch at once.

Knows sampling settings and the tokens so far; not where logits come from (runner) nor when a
sequence ends (core). For each row, in this order:

1. `logit_bias` is added.
2. Repetition penalty over prompt and drawn tokens, as in https://arxiv.org/abs/1909.05858: positive
   logits are divided by it, negative ones multiplied. Frequency and presence penalties over drawn
   tokens, as OpenAI defines them: count times the one, once the other, are subtracted.
3. Stop tokens are impossible before `min_tokens`, and so is what a grammar or a thought's limit
   forbids.
4. Temperature divides. 0 takes the most likely token, the lowest id among equals, and is done.
5. `min_p` keeps tokens at least that fraction as likely as the most likely one, `top_k` the k most
   likely; then `top_p`, of what is left, the smallest set that reaches that share. Tokens as
   likely as the last one kept are kept too.
6. One is drawn.

Log-probabilities are the natural log softmax of the logits as they came, before all of this.

A draw inverts the cumulative distribution at a number in [0, 1) that is a hash of seed, position
and attempt. So it depends on its own row alone, and no generator's state has to survive preemption.
`top_p` is exact without a sort: a token outside the set is rejected, together with all that are no
more likely, and the draw repeated among the others. That takes few attempts, since one is accepted
with probability `top_p` or more.
"""

import random
import struct
from dataclasses import dataclass, field
from hashlib import blake2b

import torch
from torch import Tensor

from glimt.engine.adjustments import Adjustments, PenaltyTable, Rows
from glimt.engine.constraints import Bits
from glimt.engine.masks import apply
from glimt.engine.messages import SamplingParams
from glimt.engine.sequence import Sequence

_GREEDY_BELOW = 1e-5
"""Lower temperatures could overflow float32; the most likely token would be drawn anyway."""

_SEED_MASK = (1 << 64) - 1


@dataclass(slots=True)
class Drawn:
    """The next token of each row.

    Attributes:
        tokens: -1 where the logits were not finite and nothing could be drawn.
        logprobs: By row, for those that asked.
        top: By row, for those that asked: (token id, logprob), most likely first.
    """

    tokens: list[int]
    logprobs: dict[int, float] = field(default_factory=dict[int, float])
    top: dict[int, list[tuple[int, float]]] = field(
        default_factory=dict[int, list[tuple[int, float]]]
    )


class Sampler:
    """Draws for one engine. What it keeps of a sequence stays until `forget`.

    Args:
        vocab_size: Columns of the logits.
        seed: For requests without one; `None` takes the system's randomness.
    """

    def __init__(self, vocab_size: int, *, seed: int | None = None) -> None:
        self._penalties = PenaltyTable(vocab_size)
        self._scratch = _Scratch()
        self._seeds: dict[Sequence, int] = {}
        self._random = random.SystemRandom() if seed is None else random.Random(seed)
        self._plans: list[_Plan | None] = [None, None]

    @torch.inference_mode()
    def sample(
        self,
        sequences: list[Sequence],
        logits: Tensor,
        *,
        mask: Bits | None = None,
        again: bool = False,
    ) -> Drawn:
        """Draw one token for each sequence.

        Args:
            sequences: The rows, in order.
            logits: float32 [len(sequences), vocab_size]; may be overwritten.
            mask: What may be drawn, for the rows that are not free.
            again: This is the step's second draw, for other sequences than the first. It changes
                no result, only what is remembered of the batch for the next step.
        """
        plan = self._plans[again]
        if plan is None or plan.sequences != sequences:
            plan = self._plans[again] = self._make_plan(sequences, logits.device)
        if plan.is_plain:
            if mask is not None:
                apply(mask, logits)
            peaks, choices = logits.max(dim=-1)
            return Drawn(_ints(torch.where(peaks.isfinite(), choices, -1)))
        raw = None if plan.report is None else plan.report.of(logits).log_softmax(dim=-1)
        plan.adjustments.apply(logits)
        if mask is not None:
            apply(mask, logits)
        healthy = logits.amax(dim=-1).isfinite()
        tokens = [-1] * len(sequences)
        if plan.greedy is not None:
            choices = plan.greedy.of(logits).argmax(dim=-1)
            for row, token in zip(plan.greedy.numbers, _ints(choices), strict=True):
                tokens[row] = token
        if plan.draw is not None:
            plan.draw.draw(logits, healthy, tokens)
        for row, is_healthy in enumerate(_flags(healthy)):
            if not is_healthy:
                tokens[row] = -1
        plan.adjustments.note(tokens)
        drawn = Drawn(tokens)
        if raw is not None:
            plan.fill_logprobs(drawn, raw)
        return drawn

    def forget(self, sequence: Sequence) -> None:
        """The sequence ended; nothing more is drawn for it."""
        self._seeds.pop(sequence, None)
        self._penalties.release(sequence)
        # A plan would keep the sequence's tokens alive while the engine idles.
        self._plans = [None, None]

    @property
    def remembered(self) -> set[Sequence]:
        """Sequences of which something is kept."""
        named = self._penalties.named
        tables = self._penalties.slots, named.biases, named.stops
        return set(self._seeds).union(*tables)

    def _make_plan(self, sequences: list[Sequence], device: torch.device) -> "_Plan":
        def rows(numbers: list[int]) -> Rows | None:
            return Rows(numbers, out_of=len(sequences), device=device) if numbers else None

        settings = [sequence.sampling for sequence in sequences]
        random_rows = rows([i for i, s in enumerate(settings) if not _is_greedy(s)])
        draw = None
        if random_rows is not None:
            drawing = [sequences[i] for i in random_rows.numbers]
            seeds = [self._seed(sequence) for sequence in drawing]
            draw = _Draw(drawing, random_rows, seeds=seeds, scratch=self._scratch, device=device)
        return _Plan(
            sequences=list(sequences),
            adjustments=Adjustments(sequences, self._penalties, device=device),
            greedy=rows([i for i, s in enumerate(settings) if _is_greedy(s)]),
            draw=draw,
            report=rows([i for i, s in enumerate(settings) if s.top_logprobs is not None]),
            num_top=max((s.top_logprobs or 0 for s in settings), default=0),
        )

    def _seed(self, sequence: Sequence) -> int:
        seed = self._seeds.get(sequence)
        if seed is None:
            chosen = sequence.sampling.seed
            seed = self._random.getrandbits(64) if chosen is None else chosen & _SEED_MASK
            self._seeds[sequence] = seed
        return seed


@dataclass(slots=True)
class _Plan:
    """Which rows of a batch want what; good while the batch has the same sequences."""

    sequences: list[Sequence]
    adjustments: Adjustments
    greedy: Rows | None
    draw: "_Draw | None"
    report: Rows | None
    num_top: int
    is_plain: bool = field(init=False)

    def __post_init__(self) -> None:
        self.is_plain = self.draw is None and self.report is None and self.adjustments.is_empty

    def fill_logprobs(self, drawn: Drawn, raw: Tensor) -> None:
        """Look up what was asked for in the log-probabilities of the reporting rows."""
        assert self.report is not None
        rows = self.report.numbers
        ids = torch.tensor([max(drawn.tokens[row], 0) for row in rows], device=raw.device)
        chosen = raw.gather(-1, ids.unsqueeze(-1)).flatten()
        drawn.logprobs.update(zip(rows, _floats(chosen), strict=True))
        if not self.num_top:
            drawn.top.update((row, []) for row in rows)
            return
        values, ids = raw.topk(min(self.num_top, raw.shape[-1]), dim=-1)
        for position, row in enumerate(rows):
            pairs = zip(_ints(ids[position]), _floats(values[position]), strict=True)
            drawn.top[row] = list(pairs)[: self.sequences[row].sampling.top_logprobs]


class _Draw:
    """Draws at random for some rows of a batch."""

    def __init__(
        self,
        sequences: list[Sequence],
        rows: Rows,
        *,
        seeds: list[int],
        scratch: "_Scratch",
        device: torch.device,
    ) -> None:
        def column(values: list[float]) -> Tensor:
            return torch.tensor(values, dtype=torch.float32, device=device).unsqueeze(-1)

        settings = [sequence.sampling for sequence in sequences]
        self._sequences = sequences
        self._rows = rows
        self._seeds = seeds
        self._scratch = scratch
        self._inverse_temperature = column([1 / s.temperature for s in settings])
        has_min_p = any(s.min_p for s in settings)
        self._min_p = column([s.min_p for s in settings]) if has_min_p else None
        self._has_top_p = any(s.top_p < 1 for s in settings)
        # Infinity is beyond all rounding where nothing is to be cut.
        self._top_p = column([s.top_p if s.top_p < 1 else torch.inf for s in settings])
        self._max_k = max(s.top_k for s in settings)
        if self._max_k:
            # Where no top_k is asked for, the rank does not matter: the factor makes it nothing.
            ranks = [max(s.top_k, 1) - 1 for s in settings]
            self._top_k = torch.tensor(ranks, device=device).unsqueeze(-1)
            self._has_top_k = column([float(s.top_k > 0) for s in settings])

    def draw(self, logits: Tensor, healthy: Tensor, tokens: list[int]) -> None:
        """Put a token into `tokens` for each of the rows.

        Args:
            logits: float32 [batch, vocab_size], adjusted.
            healthy: bool [batch]; the others' rows get any token.
            tokens: One for each row of the batch.
        """
        chosen = self._rows.of(logits)
        mask, weights, cumulative = self._scratch.like(chosen)
        torch.mul(chosen, self._inverse_temperature, out=mask)
        torch.softmax(mask, dim=-1, out=weights)
        self._cut(weights, mask)
        torch.cumsum(weights, dim=-1, out=cumulative)
        limit = cumulative[:, -1:] * self._top_p
        hopeless = ~self._rows.of(healthy).unsqueeze(-1)
        left = list(range(len(self._sequences)))
        attempt = 0
        while True:
            target = weights.new_tensor([self._uniform(i, attempt) for i in left]).unsqueeze(-1)
            choices = torch.searchsorted(cumulative, target * cumulative[:, -1:], right=True)
            choices.clamp_(max=weights.shape[-1] - 1)
            weight = weights.gather(-1, choices)
            accepted = weight > 0
            if self._has_top_p:
                torch.gt(weights, weight, out=mask)
                accepted &= mask.mul_(weights).sum(dim=-1, keepdim=True) < limit
            flags = _flags(accepted.logical_or_(hopeless).flatten())
            for i, token, is_accepted in zip(left, _ints(choices.flatten()), flags, strict=True):
                if is_accepted:
                    tokens[self._rows.numbers[i]] = token
            again = [row for row, is_accepted in enumerate(flags) if not is_accepted]
            if not again:
                return
            left = [left[row] for row in again]
            rows = torch.tensor(again, device=weights.device)
            weights, limit, hopeless = weights[rows], limit[rows], hopeless[rows]
            mask = torch.gt(weights, weight[rows], out=torch.empty_like(weights))
            weights.mul_(mask)
            cumulative = weights.cumsum(dim=-1)
            attempt += 1

    def _cut(self, weights: Tensor, mask: Tensor) -> None:
        """Set to zero what `min_p` and `top_k` leave out."""
        floor = None
        if self._min_p is not None:
            floor = weights.amax(dim=-1, keepdim=True) * self._min_p
        if self._max_k:
            best = weights.topk(min(self._max_k, weights.shape[-1]), dim=-1).values
            least = best.gather(-1, self._top_k.clamp(max=best.shape[-1] - 1)) * self._has_top_k
            floor = least if floor is None else torch.maximum(floor, least)
        if floor is not None:
            weights.mul_(torch.ge(weights, floor, out=mask))

    def _uniform(self, i: int, attempt: int) -> float:
        """A number in [0, 1) that the row's seed, position and attempt determine."""
        counter = struct.pack("<QQQ", self._seeds[i], len(self._sequences[i].tokens), attempt)
        return int.from_bytes(blake2b(counter, digest_size=8).digest(), "little") * 2.0**-64


class _Scratch:
    """Room for intermediate results, kept: the system gives fresh pages slowly."""

    def __init__(self) -> None:
        self._room = torch.empty(3, 0, 0)

    def like(self, tensor: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Three float32 tensors of the same shape, uninitialised; good until the next call."""
        num_rows = len(tensor)
        if num_rows > self._room.shape[1] or tensor.device != self._room.device:
            self._room = tensor.new_empty(3, *tensor.shape)
        return self._room[0, :num_rows], self._room[1, :num_rows], self._room[2, :num_rows]


def _is_greedy(sampling: SamplingParams) -> bool:
    return sampling.temperature < _GREEDY_BELOW or sampling.top_k == 1


def _ints(tensor: Tensor) -> list[int]:
    return tensor.tolist()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def _floats(tensor: Tensor) -> list[float]:
    return tensor.tolist()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def _flags(tensor: Tensor) -> list[bool]:
    return tensor.tolist()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
