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
and attempt (`draws`). So it depends on its own row alone, and no generator's state has to survive
preemption.

`sample` waits for its tokens. `launch` queues the same arithmetic and returns at once: tokens stay
on the device, where the next step finds them, and come to the host later.
"""

import random
from dataclasses import dataclass, field

import torch
from torch import Tensor

from glimt.engine.adjustments import Adjustments, PenaltyTable, Rows, changes
from glimt.engine.constraints import Bits
from glimt.engine.draws import (
    BROKEN,
    GREEDY,
    ROUNDS,
    Lots,
    Odds,
    attempt,
    draw_blindly,
    numbers_of,
    uniform,
    weigh,
)
from glimt.engine.masks import apply
from glimt.engine.messages import SamplingParams
from glimt.engine.sequence import Sequence
from glimt.engine.transfer import Download, upload

_GREEDY_BELOW = 1e-5
"""Lower temperatures could overflow float32; the most likely token would be drawn anyway."""

_SEED_MASK = (1 << 64) - 1


@dataclass(slots=True)
class Drawn:
    """The next token of each row.

    Attributes:
        tokens: `BROKEN` where the logits were not finite and nothing could be drawn; `UNDECIDED`
            where nobody waited for the last attempt.
        logprobs: By row, for those that asked.
        top: By row, for those that asked: (token id, logprob), most likely first.
    """

    tokens: list[int]
    logprobs: dict[int, float] = field(default_factory=dict[int, float])
    top: dict[int, list[tuple[int, float]]] = field(
        default_factory=dict[int, list[tuple[int, float]]]
    )


class Draws:
    """Draws under way.

    Attributes:
        tokens: int64 [rows], on the device; negative as in `Drawn`.
    """

    def __init__(
        self, tokens: Tensor, plan: "_Plan | None" = None, raw: Tensor | None = None
    ) -> None:
        self.tokens = tokens
        self._plan = plan
        found = () if plan is None or raw is None else plan.look_up(raw, tokens)
        self._download = Download(tokens, *found, device=tokens.device)

    def read(self) -> Drawn:
        """What was drawn, once it is known."""
        tokens, *found = self._download.wait()
        drawn = Drawn(_ints(tokens))
        if self._plan is not None and found:
            self._plan.fill(drawn, found)
        return drawn


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
        plan = self._plan(sequences, logits.device, again=again)
        if plan.is_plain:
            if mask is not None:
                apply(mask, logits)
            peaks, choices = logits.max(dim=-1)
            return Drawn(_ints(torch.where(peaks.isfinite(), choices, BROKEN)))
        raw = plan.adjust(logits, mask)
        healthy = logits.amax(dim=-1).isfinite()
        tokens = [BROKEN] * len(sequences)
        if plan.greedy is not None:
            choices = plan.greedy.of(logits).argmax(dim=-1)
            for row, token in zip(plan.greedy.numbers, _ints(choices), strict=True):
                tokens[row] = token
        if plan.draw is not None:
            plan.draw.draw(logits, healthy, tokens, scratch=self._scratch)
        for row, is_healthy in enumerate(_flags(healthy)):
            if not is_healthy:
                tokens[row] = BROKEN
        plan.adjustments.note_all(tokens)
        drawn = Drawn(tokens)
        if raw is not None:
            plan.fill(drawn, plan.look_up(raw, upload(tokens, raw.device)))
        return drawn

    @torch.inference_mode()
    def launch(
        self, sequences: list[Sequence], logits: Tensor, *, known: Tensor, mask: Bits | None = None
    ) -> Draws:
        """Draw as `sample` does, but wait for nothing.

        Args:
            sequences: The rows, in order.
            logits: float32 [len(sequences), vocab_size]; may be overwritten.
            known: bool [len(sequences)], on the device: whether the tokens so far are all real.
                Where one could not be drawn nothing is drawn behind it.
            mask: What may be drawn, for the rows that are not free.
        """
        plan = self._plan(sequences, logits.device)
        raw = plan.adjust(logits, mask)
        peaks, tokens = logits.max(dim=-1)
        if plan.draw is not None:
            rows = plan.draw.rows
            drawn = draw_blindly(rows.of(logits), plan.draw.odds, plan.draw.targets())
            tokens = rows.put(tokens, drawn)
        tokens = tokens.masked_fill(~(peaks.isfinite() & known), BROKEN)
        plan.adjustments.note(tokens)
        return Draws(tokens, plan, raw)

    def lots(self, rows: list[tuple[Sequence, int]]) -> Lots | None:
        """How to draw the rows of a recorded step; `None` if they want what only `launch` can do.

        Args:
            rows: Sequences, and how many tokens behind the next one each draws.
        """
        numbers: list[list[float]] = []
        are_random = False
        for sequence, ahead in rows:
            sampling = sequence.sampling
            is_greedy = _is_greedy(sampling)
            if sampling.top_logprobs is not None or changes(sequence):
                return None
            if sampling.top_k and not is_greedy:
                return None
            are_random = are_random or not is_greedy
            position = sequence.length + ahead
            numbers.append(
                GREEDY if is_greedy else numbers_of(sampling, self._seed(sequence), position)
            )
        return Lots.of(numbers, are_random=are_random)

    def forget(self, sequence: Sequence) -> None:
        """The sequence ended; nothing more is drawn for it."""
        self._seeds.pop(sequence, None)
        self._penalties.release(sequence)
        self.forget_batch()

    def forget_batch(self) -> None:
        """What was found out about the last batch is not to be used again."""
        # A plan would keep a sequence's tokens alive while the engine idles.
        self._plans = [None, None]

    @property
    def remembered(self) -> set[Sequence]:
        """Sequences of which something is kept."""
        named = self._penalties.named
        tables = self._penalties.slots, named.biases, named.stops
        return set(self._seeds).union(*tables)

    def _plan(
        self, sequences: list[Sequence], device: torch.device, *, again: bool = False
    ) -> "_Plan":
        plan = self._plans[again]
        if plan is None or plan.sequences != sequences:
            plan = self._plans[again] = self._make_plan(sequences, device)
        return plan

    def _make_plan(self, sequences: list[Sequence], device: torch.device) -> "_Plan":
        def rows(numbers: list[int]) -> Rows | None:
            return Rows(numbers, out_of=len(sequences), device=device) if numbers else None

        settings = [sequence.sampling for sequence in sequences]
        random_rows = rows([i for i, s in enumerate(settings) if not _is_greedy(s)])
        draw = None
        if random_rows is not None:
            drawing = [sequences[i] for i in random_rows.numbers]
            odds = Odds.of([sequence.sampling for sequence in drawing], device)
            seeds = [self._seed(sequence) for sequence in drawing]
            draw = _Draw(drawing, random_rows, seeds, odds)
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

    def adjust(self, logits: Tensor, mask: Bits | None) -> Tensor | None:
        """Change the logits as was asked for; the reporting rows' log-probabilities before that."""
        raw = None if self.report is None else self.report.of(logits).log_softmax(dim=-1)
        self.adjustments.apply(logits)
        if mask is not None:
            apply(mask, logits)
        return raw

    def look_up(self, raw: Tensor, tokens: Tensor) -> tuple[Tensor, ...]:
        """Log-probabilities of the drawn tokens of the reporting rows, and of the likeliest.

        Returns:
            [N]; and where anybody wants them [N, most] values and token ids.
        """
        assert self.report is not None
        ids = self.report.of(tokens).clamp(min=0).unsqueeze(-1)
        chosen = raw.gather(-1, ids).flatten()
        if not self.num_top:
            return (chosen,)
        values, ids = raw.topk(min(self.num_top, raw.shape[-1]), dim=-1)
        return chosen, values, ids

    def fill(self, drawn: Drawn, found: "tuple[Tensor, ...] | list[Tensor]") -> None:
        """Put what `look_up` found where it belongs."""
        assert self.report is not None
        rows = self.report.numbers
        chosen, *best = found
        drawn.logprobs.update(zip(rows, _floats(chosen), strict=True))
        if not best:
            drawn.top.update((row, []) for row in rows)
            return
        values, ids = best
        for position, row in enumerate(rows):
            pairs = zip(_ints(ids[position]), _floats(values[position]), strict=True)
            drawn.top[row] = list(pairs)[: self.sequences[row].sampling.top_logprobs]


@dataclass(slots=True)
class _Draw:
    """Draws at random for some rows of a batch."""

    sequences: list[Sequence]
    rows: Rows
    seeds: list[int]
    odds: Odds

    def draw(
        self, logits: Tensor, healthy: Tensor, tokens: list[int], *, scratch: "_Scratch"
    ) -> None:
        """Put a token into `tokens` for each of the rows, however many attempts it takes.

        Args:
            logits: float32 [batch, vocab_size], adjusted.
            healthy: bool [batch]; the others' rows get any token.
            tokens: One for each row of the batch.
            scratch: Room for intermediate results.
        """
        chosen = self.rows.of(logits)
        spare, weights, cumulative = scratch.like(chosen)
        weigh(chosen, self.odds, weights=weights, spare=spare)
        torch.cumsum(weights, dim=-1, out=cumulative)
        limit = None if self.odds.top_p is None else cumulative[:, -1:] * self.odds.top_p
        hopeless = ~self.rows.of(healthy).unsqueeze(-1)
        left = list(range(len(self.sequences)))
        num_attempts = 0
        while True:
            target = weights.new_tensor([self._uniform(i, num_attempts) for i in left])
            choices, weight, accepted = attempt(
                weights, cumulative, target.unsqueeze(-1), limit=limit, spare=spare
            )
            flags = _flags(accepted.logical_or_(hopeless).flatten())
            for i, token, is_accepted in zip(left, _ints(choices.flatten()), flags, strict=True):
                if is_accepted:
                    tokens[self.rows.numbers[i]] = token
            again = [row for row, is_accepted in enumerate(flags) if not is_accepted]
            if not again:
                return
            left = [left[row] for row in again]
            rows = torch.tensor(again, device=weights.device)
            weights, hopeless = weights[rows], hopeless[rows]
            limit = None if limit is None else limit[rows]
            spare = torch.gt(weights, weight[rows], out=torch.empty_like(weights))
            weights.mul_(spare)
            cumulative = weights.cumsum(dim=-1)
            num_attempts += 1

    def targets(self) -> Tensor:
        """What the rows draw with, float32 [rows, attempts]."""
        attempts = range(1 if self.odds.top_p is None else ROUNDS)
        numbers = [[self._uniform(i, k) for k in attempts] for i in range(len(self.sequences))]
        return upload(numbers, self.odds.inverse_temperature.device, torch.float32)

    def _uniform(self, i: int, number: int) -> float:
        return uniform(self.seeds[i], self.sequences[i].length, number)


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
