"""What changes logits before a token is drawn: bias, penalties, and the ban on early stops.

Knows sampling settings and the tokens of the sequences in a batch; draws nothing (sampler). The
definitions are in the sampler's opening words.
"""

from collections import Counter

import torch
from torch import Tensor

from glimt.engine.messages import SamplingParams
from glimt.engine.sequence import Sequence


class Rows:
    """Some rows of a batch, by number. To pick all of them costs nothing."""

    def __init__(self, numbers: list[int], *, out_of: int, device: torch.device) -> None:
        self.numbers = numbers
        self._index = torch.tensor(numbers, dtype=torch.int64, device=device)
        self._is_all = len(numbers) == out_of

    def of(self, tensor: Tensor) -> Tensor:
        """These rows of `tensor`: itself if they are all, else a copy."""
        return tensor if self._is_all else tensor[self._index]

    def put(self, tensor: Tensor, rows: Tensor) -> None:
        """Write back what `of` gave, after it was changed."""
        if rows is not tensor:
            tensor[self._index] = rows


class TokenTable:
    """What sequences name token by token, as tensors: made once a sequence, whatever the batch.

    A request may name hundreds of tokens, and a batch changes with nearly every step.
    """

    def __init__(self) -> None:
        self.biases: dict[Sequence, tuple[Tensor, Tensor]] = {}
        self.stops: dict[Sequence, Tensor] = {}

    def bias(self, sequence: Sequence, device: torch.device) -> tuple[Tensor, Tensor]:
        """Token ids and what to add to their logits, int64 and float32 [entries of the bias]."""
        found = self.biases.get(sequence)
        if found is None:
            bias = sequence.sampling.logit_bias
            found = self.biases[sequence] = (
                torch.tensor(list(bias), dtype=torch.int64, device=device),
                torch.tensor(list(bias.values()), dtype=torch.float32, device=device),
            )
        return found

    def stop_ids(self, sequence: Sequence, device: torch.device) -> Tensor:
        """int64 [stop tokens]."""
        found = self.stops.get(sequence)
        if found is None:
            ids = sequence.sampling.stop_token_ids
            found = self.stops[sequence] = torch.tensor(ids, dtype=torch.int64, device=device)
        return found

    def release(self, sequence: Sequence) -> None:
        """Forget the sequence, if it is known."""
        self.biases.pop(sequence, None)
        self.stops.pop(sequence, None)


class PenaltyTable:
    """What to subtract from and divide by, for each token of each sequence with a penalty.

    One row a sequence, changed by one token a step, never made anew while the sequence lives.
    Rows take 8 bytes a token of the vocabulary and are allocated when first needed.

    Attributes:
        slots: Which row belongs to whom.
        named: What sequences name token by token.
        factors: float32 [slots, vocab_size]: the repetition penalty where a token was seen, else 1.
        deductions: float32 [slots, vocab_size]: frequency and presence penalties together.
    """

    def __init__(self, vocab_size: int) -> None:
        self.slots: dict[Sequence, int] = {}
        self.named = TokenTable()
        self.factors = torch.empty(0, vocab_size)
        self.deductions = torch.empty(0, vocab_size)
        self._drawn: dict[Sequence, Counter[int]] = {}
        self._free: list[int] = []

    def slot(self, sequence: Sequence, device: torch.device) -> int:
        """The sequence's row; filled from the tokens so far when it is new."""
        slot = self.slots.get(sequence)
        if slot is None:
            if not self._free:
                self._grow(device)
            slot = self.slots[sequence] = self._free.pop()
            seen = torch.tensor(sequence.tokens, device=device)
            self.factors[slot] = 1
            self.factors[slot, seen] = sequence.sampling.repetition_penalty
            self.deductions[slot] = 0
            drawn = self._drawn[sequence] = Counter(sequence.tokens[sequence.num_prompt :])
            for token in drawn:
                self.deductions[slot, token] = _deduction(sequence.sampling, drawn[token])
        return slot

    def note(self, sequences: list[Sequence], tokens: list[int]) -> None:
        """One more token of each of these sequences was drawn."""
        rows = [self.slots[sequence] for sequence in sequences]
        factors = [sequence.sampling.repetition_penalty for sequence in sequences]
        deductions: list[float] = []
        for sequence, token in zip(sequences, tokens, strict=True):
            drawn = self._drawn[sequence]
            drawn[token] += 1
            deductions.append(_deduction(sequence.sampling, drawn[token]))
        device = self.factors.device
        place = (torch.tensor(rows, device=device), torch.tensor(tokens, device=device))
        self.factors[place] = torch.tensor(factors, device=device)
        self.deductions[place] = torch.tensor(deductions, device=device)

    def release(self, sequence: Sequence) -> None:
        """Give the sequence's row back, if it has one."""
        self.named.release(sequence)
        slot = self.slots.pop(sequence, None)
        if slot is not None:
            self._free.append(slot)
            del self._drawn[sequence]

    def _grow(self, device: torch.device) -> None:
        num_slots, vocab_size = self.factors.shape
        num_more = max(num_slots, 4)
        more = torch.empty(num_more, vocab_size, device=device)
        self.factors = torch.cat((self.factors.to(device), more))
        self.deductions = torch.cat((self.deductions.to(device), more))
        self._free.extend(range(num_slots, num_slots + num_more))


class Adjustments:
    """What the sequences of one batch ask to change, as tensors.

    Good as long as the batch has the same sequences in the same order.
    """

    def __init__(
        self, sequences: list[Sequence], table: PenaltyTable, *, device: torch.device
    ) -> None:
        self._device = device
        self._table = table
        self._bias = self._collect_bias(sequences)
        penalised = [i for i, s in enumerate(sequences) if _has_penalty(s.sampling)]
        self._penalised = [sequences[i] for i in penalised]
        if penalised:
            self._rows = Rows(penalised, out_of=len(sequences), device=device)
            slots = [table.slot(sequence, device) for sequence in self._penalised]
            self._slots = torch.tensor(slots, device=device)
            self._has_factors = any(s.sampling.repetition_penalty != 1 for s in self._penalised)
        self._guarded = [
            (row, sequence)
            for row, sequence in enumerate(sequences)
            if sequence.sampling.stop_token_ids
            and sequence.num_generated < sequence.sampling.min_tokens
        ]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to change."""
        return not self._penalised and self._bias is None and not self._guarded

    def apply(self, logits: Tensor) -> None:
        """Change the batch's logits, float32 [sequences, vocab_size], in place."""
        if self._bias is not None:
            rows, ids, values = self._bias
            logits.index_put_((rows, ids), values, accumulate=True)
        if self._penalised:
            self._apply_penalties(logits)
        if self._guarded:
            self._forbid_early_stops(logits)

    def note(self, tokens: list[int]) -> None:
        """These were drawn, one for each sequence of the batch."""
        if self._penalised:
            self._table.note(self._penalised, [max(tokens[i], 0) for i in self._rows.numbers])

    def _apply_penalties(self, logits: Tensor) -> None:
        part = self._rows.of(logits)
        if self._has_factors:
            factors = self._table.factors[self._slots]
            # One of the two halves is zero everywhere, so their sum is exact.
            positive = part.clamp(min=0)
            part.sub_(positive).mul_(factors).add_(positive.div_(factors))
        part.sub_(self._table.deductions[self._slots])
        self._rows.put(logits, part)

    def _forbid_early_stops(self, logits: Tensor) -> None:
        self._guarded = [
            (row, sequence)
            for row, sequence in self._guarded
            if sequence.num_generated < sequence.sampling.min_tokens
        ]
        for row, sequence in self._guarded:
            # Where a grammar lets nothing else come, forbidding the stop would leave no token.
            if sequence.constraint is not None and sequence.constraint.settled:
                continue
            logits[row].index_fill_(
                0, self._table.named.stop_ids(sequence, self._device), -torch.inf
            )

    def _collect_bias(self, sequences: list[Sequence]) -> tuple[Tensor, Tensor, Tensor] | None:
        biased = [row for row, s in enumerate(sequences) if s.sampling.logit_bias]
        if not biased:
            return None
        named = [self._table.named.bias(sequences[row], self._device) for row in biased]
        ids, values = (torch.cat(parts) for parts in zip(*named, strict=True))
        counts = torch.tensor([len(part) for part, _ in named], device=self._device)
        rows = torch.tensor(biased, device=self._device).repeat_interleave(counts)
        return rows, ids, values


def _has_penalty(sampling: SamplingParams) -> bool:
    return bool(
        sampling.presence_penalty or sampling.frequency_penalty or sampling.repetition_penalty != 1
    )


def _deduction(sampling: SamplingParams, num_drawn: int) -> float:
    return sampling.frequency_penalty * num_drawn + sampling.presence_penalty
