"""From logits to tokens: what each request asked for, for the whole batch at once.

Knows sampling settings and the tokens so far; not where logits come from (runner) nor when a
sequence ends (core). For each row, in this order:

1. `logit_bias` is added.
2. Repetition penalty over prompt and drawn tokens, as in https://arxiv.org/abs/1909.05858: positive
   logits are divided by it, negative ones multiplied. Frequency and presence penalties over drawn
   tokens, as OpenAI defines them: count times the one, once the other, are subtracted.
3. Stop tokens are impossible before `min_tokens`.
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
        self._counts = _TokenCounts(vocab_size)
        self._seeds: dict[Sequence, int] = {}
        self._random = random.SystemRandom() if seed is None else random.Random(seed)
        self._plan: _Plan | None = None

    @torch.inference_mode()
    def sample(self, sequences: list[Sequence], logits: Tensor) -> Drawn:
        """Draw one token for each sequence.

        Args:
            sequences: The rows, in order.
            logits: float32 [len(sequences), vocab_size]; may be overwritten.
        """
        plan = self._plan
        if plan is None or plan.sequences != sequences:
            plan = self._plan = _Plan(sequences, logits.device, self._counts)
        if plan.is_plain:
            peaks, choices = logits.max(dim=-1)
            return Drawn(_ints(torch.where(peaks.isfinite(), choices, -1)))
        raw = None if plan.report is None else plan.report.of(logits).log_softmax(dim=-1)
        plan.adjust(logits)
        healthy = logits.amax(dim=-1).isfinite()
        tokens = [-1] * len(sequences)
        if plan.greedy is not None:
            choices = _ints(plan.greedy.of(logits).argmax(dim=-1))
            for row, token in zip(plan.greedy.numbers, choices, strict=True):
                tokens[row] = token
        if plan.random is not None:
            self._draw(plan, logits, healthy, tokens)
        for row, is_healthy in enumerate(_flags(healthy)):
            if not is_healthy:
                tokens[row] = -1
        plan.count(tokens)
        drawn = Drawn(tokens)
        if raw is not None:
            plan.fill_logprobs(drawn, raw)
        return drawn

    def forget(self, sequence: Sequence) -> None:
        """The sequence ended; nothing more is drawn for it."""
        self._seeds.pop(sequence, None)
        self._counts.release(sequence)
        # A plan would keep the sequence's tokens alive while the engine idles.
        self._plan = None

    @property
    def remembered(self) -> set[Sequence]:
        """Sequences of which something is kept."""
        return self._seeds.keys() | self._counts.slots.keys()

    def _draw(self, plan: "_Plan", logits: Tensor, healthy: Tensor, tokens: list[int]) -> None:
        rows = plan.random
        assert rows is not None
        weights = plan.weigh(rows.of(logits))
        hopeless = ~rows.of(healthy).unsqueeze(-1)
        cumulative = weights.cumsum(dim=-1)
        limit = cumulative[:, -1:] * plan.shares
        numbers = rows.numbers
        attempt = 0
        while True:
            uniform = [self._uniform(plan.sequences[row], attempt) for row in numbers]
            target = cumulative[:, -1:] * weights.new_tensor(uniform).unsqueeze(-1)
            choices = torch.searchsorted(cumulative, target, right=True)
            choices.clamp_(max=weights.shape[-1] - 1)
            weight = weights.gather(-1, choices)
            accepted = weight > 0
            if plan.has_shares:
                more_likely = torch.where(weights > weight, weights, 0).sum(-1, keepdim=True)
                accepted &= more_likely < limit
            accepted |= hopeless
            flags = _flags(accepted.flatten())
            for row, token, flag in zip(numbers, _ints(choices.flatten()), flags, strict=True):
                if flag:
                    tokens[row] = token
            if all(flags):
                return
            kept = (~accepted).flatten().nonzero().flatten()
            numbers = [row for row, flag in zip(numbers, flags, strict=True) if not flag]
            weights, weight = weights[kept], weight[kept]
            weights = torch.where(weights > weight, weights, 0)
            limit, hopeless = limit[kept], hopeless[kept]
            cumulative = weights.cumsum(dim=-1)
            attempt += 1

    def _uniform(self, sequence: Sequence, attempt: int) -> float:
        """A number in [0, 1) that seed, position and attempt determine."""
        seed = self._seeds.get(sequence)
        if seed is None:
            chosen = sequence.sampling.seed
            seed = self._random.getrandbits(64) if chosen is None else chosen & _SEED_MASK
            self._seeds[sequence] = seed
        counter = struct.pack("<QQQ", seed, len(sequence.tokens), attempt)
        return int.from_bytes(blake2b(counter, digest_size=8).digest(), "little") * 2.0**-64


class _Rows:
    """Some rows of a batch; all of them cost nothing to pick."""

    def __init__(self, numbers: list[int], *, out_of: int, device: torch.device) -> None:
        self.numbers = numbers
        self.index = torch.tensor(numbers, device=device)
        self._is_all = len(numbers) == out_of

    def of(self, tensor: Tensor) -> Tensor:
        """Rows of `tensor`: itself if they are all, else a copy."""
        return tensor if self._is_all else tensor[self.index]

    def put(self, tensor: Tensor, rows: Tensor) -> None:
        """Write the rows that `of` gave back, changed."""
        if rows is not tensor:
            tensor[self.index] = rows


class _Plan:
    """What a batch asks for, as tensors; good as long as the batch has the same sequences."""

    def __init__(
        self, sequences: list[Sequence], device: torch.device, counts: "_TokenCounts"
    ) -> None:
        self.sequences = list(sequences)
        self._device = device
        self._counts = counts
        settings = [sequence.sampling for sequence in sequences]
        self.greedy = self._rows([i for i, s in enumerate(settings) if _is_greedy(s)])
        self.random = self._rows([i for i, s in enumerate(settings) if not _is_greedy(s)])
        self.report = self._rows([i for i, s in enumerate(settings) if s.top_logprobs is not None])
        self._num_top = max((s.top_logprobs or 0 for s in settings), default=0)
        self._guarded = [i for i, s in enumerate(settings) if s.min_tokens and s.stop_token_ids]
        self._plan_bias(settings)
        self._plan_penalties(settings)
        self._plan_random([settings[i] for i in self.random.numbers] if self.random else [])
        self.is_plain = (
            self.random is None
            and self.report is None
            and self._bias is None
            and self._penalised is None
            and not self._guarded
        )

    def adjust(self, logits: Tensor) -> None:
        """Apply bias, penalties and the ban on early stops, in place."""
        if self._bias is not None:
            rows, ids, values = self._bias
            logits.index_put_((rows, ids), values, accumulate=True)
        if self._penalised is not None:
            part = self._penalised.of(logits)
            if self._repetition is not None:
                strengthened = torch.where(
                    part > 0, part / self._repetition, part * self._repetition
                )
                part.copy_(torch.where(self._counts.seen[self._slots], strengthened, part))
            drawn = self._counts.drawn[self._slots]
            part.sub_(drawn * self._frequency).sub_((drawn > 0) * self._presence)
            self._penalised.put(logits, part)
        if self._guarded:
            self._forbid_early_stops(logits)

    def weigh(self, logits: Tensor) -> Tensor:
        """Probabilities after temperature, `min_p` and `top_k`, not normalised again."""
        weights = (logits * self._inverse_temperature).softmax(dim=-1)
        if self._min_p is not None:
            floor = weights.amax(dim=-1, keepdim=True) * self._min_p
            weights = torch.where(weights < floor, 0, weights)
        if self._top_k is not None:
            floor = weights.topk(self._max_k, dim=-1).values.gather(-1, self._top_k)
            floor = torch.where(self._has_top_k, floor, 0)
            weights = torch.where(weights < floor, 0, weights)
        return weights

    def count(self, tokens: list[int]) -> None:
        """Note the drawn tokens for the penalties to come."""
        if self._penalised is not None:
            drawn = [max(tokens[row], 0) for row in self._penalised.numbers]
            self._counts.add(self._slots, torch.tensor(drawn, device=self._device))

    def fill_logprobs(self, drawn: Drawn, raw: Tensor) -> None:
        """Look up what was asked for in the log-probabilities of the reporting rows."""
        assert self.report is not None
        rows = self.report.numbers
        ids = torch.tensor([max(drawn.tokens[row], 0) for row in rows], device=self._device)
        chosen = _floats(raw.gather(-1, ids.unsqueeze(-1)).flatten())
        drawn.logprobs.update(zip(rows, chosen, strict=True))
        if not self._num_top:
            drawn.top.update((row, []) for row in rows)
            return
        values, ids = raw.topk(min(self._num_top, raw.shape[-1]), dim=-1)
        for position, row in enumerate(rows):
            pairs = zip(_ints(ids[position]), _floats(values[position]), strict=True)
            drawn.top[row] = list(pairs)[: self.sequences[row].sampling.top_logprobs]

    def _rows(self, numbers: list[int]) -> _Rows | None:
        if not numbers:
            return None
        return _Rows(numbers, out_of=len(self.sequences), device=self._device)

    def _column(self, values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=self._device).unsqueeze(-1)

    def _plan_bias(self, settings: list[SamplingParams]) -> None:
        items = [
            (i, id_, bias) for i, s in enumerate(settings) for id_, bias in s.logit_bias.items()
        ]
        self._bias: tuple[Tensor, Tensor, Tensor] | None = None
        if items:
            rows, ids, values = zip(*items, strict=True)
            self._bias = (
                torch.tensor(rows, device=self._device),
                torch.tensor(ids, device=self._device),
                torch.tensor(values, dtype=torch.float32, device=self._device),
            )

    def _plan_penalties(self, settings: list[SamplingParams]) -> None:
        numbers = [i for i, s in enumerate(settings) if _has_penalty(s)]
        self._penalised = self._rows(numbers)
        if self._penalised is None:
            return
        chosen = [settings[i] for i in numbers]
        slots = [self._counts.slot(self.sequences[i], self._device) for i in numbers]
        self._slots = torch.tensor(slots, device=self._device)
        self._frequency = self._column([s.frequency_penalty for s in chosen])
        self._presence = self._column([s.presence_penalty for s in chosen])
        has_repetition = any(s.repetition_penalty != 1 for s in chosen)
        self._repetition = (
            self._column([s.repetition_penalty for s in chosen]) if has_repetition else None
        )

    def _plan_random(self, settings: list[SamplingParams]) -> None:
        self._inverse_temperature = self._column([1 / s.temperature for s in settings])
        self.has_shares = any(s.top_p < 1 for s in settings)
        # Beyond all rounding where nothing is to be cut.
        self.shares = self._column([s.top_p if s.top_p < 1 else torch.inf for s in settings])
        has_min_p = any(s.min_p for s in settings)
        self._min_p = self._column([s.min_p for s in settings]) if has_min_p else None
        self._max_k = min(max((s.top_k for s in settings), default=0), self._counts.vocab_size)
        self._top_k = None
        if self._max_k:
            ranks = [min(max(s.top_k, 1), self._max_k) - 1 for s in settings]
            self._top_k = torch.tensor(ranks, device=self._device).unsqueeze(-1)
            self._has_top_k = self._column([float(s.top_k) for s in settings]) > 0

    def _forbid_early_stops(self, logits: Tensor) -> None:
        rows: list[int] = []
        ids: list[int] = []
        for row in self._guarded:
            sequence = self.sequences[row]
            if sequence.num_generated < sequence.sampling.min_tokens:
                rows += [row] * len(sequence.sampling.stop_token_ids)
                ids += sequence.sampling.stop_token_ids
        if rows:
            logits[torch.tensor(rows), torch.tensor(ids)] = -torch.inf
        else:
            self._guarded = []


class _TokenCounts:
    """How often each sequence with a penalty has seen each token; one row of a table each."""

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size
        self.slots: dict[Sequence, int] = {}
        self._free: list[int] = []
        self.drawn = torch.empty(0, vocab_size)
        """float32 [slots, vocab_size]: drawn tokens."""
        self.seen = torch.empty(0, vocab_size, dtype=torch.bool)
        """bool [slots, vocab_size]: prompt and drawn tokens."""

    def slot(self, sequence: Sequence, device: torch.device) -> int:
        """The sequence's row, counted up to now when it is new."""
        slot = self.slots.get(sequence)
        if slot is None:
            if not self._free:
                self._grow(device)
            slot = self.slots[sequence] = self._free.pop()
            tokens = torch.tensor(sequence.tokens, device=device)
            self.seen[slot] = False
            self.seen[slot, tokens] = True
            drawn = tokens[sequence.num_prompt :]
            self.drawn[slot] = drawn.bincount(minlength=self.vocab_size)
        return slot

    def add(self, slots: Tensor, tokens: Tensor) -> None:
        """Count one more token for each of these rows."""
        self.drawn.index_put_((slots, tokens), self.drawn.new_ones(()), accumulate=True)
        self.seen[slots, tokens] = True

    def release(self, sequence: Sequence) -> None:
        """Give the row back."""
        slot = self.slots.pop(sequence, None)
        if slot is not None:
            self._free.append(slot)

    def _grow(self, device: torch.device) -> None:
        num_slots = len(self.drawn)
        num_more = max(num_slots, 4)
        more = torch.zeros(num_more, self.vocab_size, device=device)
        self.drawn = torch.cat((self.drawn.to(device), more))
        self.seen = torch.cat((self.seen.to(device), more.bool()))
        self._free.extend(range(num_slots, num_slots + num_more))


def _is_greedy(sampling: SamplingParams) -> bool:
    return sampling.temperature < _GREEDY_BELOW or sampling.top_k == 1


def _has_penalty(sampling: SamplingParams) -> bool:
    return bool(
        sampling.presence_penalty or sampling.frequency_penalty or sampling.repetition_penalty != 1
    )


def _ints(tensor: Tensor) -> list[int]:
    return tensor.tolist()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def _floats(tensor: Tensor) -> list[float]:
    return tensor.tolist()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def _flags(tensor: Tensor) -> list[bool]:
    return tensor.tolist()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
