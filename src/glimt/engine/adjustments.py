"""What changes logits before a token is drawn: bias, penalties, and the ban on early stops.

Knows sampling settings and the tokens of the sequences in a batch; draws nothing (sampler). The
definitions are in the sampler's opening words.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from glimt.engine.messages import SamplingParams
from glimt.engine.sequence import Sequence
from glimt.engine.transfer import upload


class Rows:
    """Some rows of a batch, by number. To pick all of them costs nothing."""

    def __init__(self, numbers: list[int], *, out_of: int, device: torch.device) -> None:
        self.numbers = numbers
        self._index = upload(numbers, device)
        self._is_all = len(numbers) == out_of

    def of(self, tensor: Tensor) -> Tensor:
        """These rows of `tensor`: itself if they are all, else a copy."""
        return tensor if self._is_all else tensor[self._index]

    def put(self, tensor: Tensor, rows: Tensor) -> Tensor:
        """Write back what `of` gave, after it was changed; the result."""
        if self._is_all:
            return rows
        tensor[self._index] = rows
        return tensor


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
                upload(list(bias), device),
                upload(list(bias.values()), device, torch.float32),
            )
        return found

    def stop_ids(self, sequence: Sequence, device: torch.device) -> Tensor:
        """int64 [stop tokens]."""
        found = self.stops.get(sequence)
        if found is None:
            ids = sequence.sampling.stop_token_ids
            found = self.stops[sequence] = upload(ids, device)
        return found

    def release(self, sequence: Sequence) -> None:
        """Forget the sequence, if it is known."""
        self.biases.pop(sequence, None)
        self.stops.pop(sequence, None)


@dataclass(slots=True)
class Penalties:
    """The penalties of some rows, and the slots of a table where their counts are.

    Attributes:
        slots: int64 [N].
        repetition: float32 [N]; `None` if no row has one.
        frequency: float64 [N].
        presence: float64 [N]; `None` if no row has one or the other.
    """

    slots: Tensor
    repetition: Tensor | None = None
    frequency: Tensor | None = None
    presence: Tensor | None = None

    @classmethod
    def of(
        cls, settings: list[SamplingParams], slots: list[int], device: torch.device
    ) -> "Penalties":
        """Those that were asked for."""

        def column(values: list[float], dtype: torch.dtype) -> Tensor:
            return upload(values, device, dtype)

        penalties = cls(upload(slots, device))
        if any(s.repetition_penalty != 1 for s in settings):
            penalties.repetition = column([s.repetition_penalty for s in settings], torch.float32)
        if any(s.frequency_penalty or s.presence_penalty for s in settings):
            penalties.frequency = column([s.frequency_penalty for s in settings], torch.float64)
            penalties.presence = column([s.presence_penalty for s in settings], torch.float64)
        return penalties


class PenaltyTable:
    """What to subtract from and divide by, for each token of each sequence with a penalty.

    One row a sequence, changed by one token a step, never made anew while the sequence lives.
    Rows take 12 bytes a token of the vocabulary and are allocated when first needed. They are
    changed where they are: whoever draws on a GPU need not know the token.

    Attributes:
        slots: Which row belongs to whom.
        named: What sequences name token by token.
        factors: float32 [slots, vocab_size]: the repetition penalty where a token was seen, else 1.
        deductions: float32 [slots, vocab_size]: frequency and presence penalties together.
        counts: int32 [slots, vocab_size]: how often a token was drawn.
    """

    def __init__(self, vocab_size: int) -> None:
        self.slots: dict[Sequence, int] = {}
        self.named = TokenTable()
        self.factors = torch.empty(0, vocab_size)
        self.deductions = torch.empty(0, vocab_size)
        self.counts = torch.empty(0, vocab_size, dtype=torch.int32)
        self._free: list[int] = []

    def slot(self, sequence: Sequence, device: torch.device) -> int:
        """The sequence's row; filled from the tokens so far when it is new."""
        slot = self.slots.get(sequence)
        if slot is None:
            if not self._free:
                self._grow(device)
            slot = self.slots[sequence] = self._free.pop()
            assert not sequence.num_pending, "a slot is taken for the first draw"
            prompt = upload(sequence.tokens[: sequence.num_prompt], device)
            self.factors[slot] = 1
            self.factors[slot].index_fill_(0, prompt, sequence.sampling.repetition_penalty)
            self.deductions[slot] = 0
            self.counts[slot] = 0
            penalties = Penalties.of([sequence.sampling], [slot], device)
            for token in sequence.tokens[sequence.num_prompt :]:
                self.note(penalties, upload([token], device))
        return slot

    def note(self, penalties: Penalties, tokens: Tensor) -> None:
        """One more token of each of these rows was drawn, int64 [N]; none where it is negative."""
        places = (penalties.slots, tokens.clamp(min=0))
        is_drawn = tokens >= 0
        if penalties.repetition is not None:
            self.factors[places] = torch.where(is_drawn, penalties.repetition, self.factors[places])
        if penalties.frequency is not None and penalties.presence is not None:
            counts = self.counts[places] + is_drawn
            self.counts[places] = counts
            deductions = penalties.frequency * counts + penalties.presence * (counts > 0)
            self.deductions[places] = deductions.float()

    def release(self, sequence: Sequence) -> None:
        """Give the sequence's row back, if it has one."""
        self.named.release(sequence)
        slot = self.slots.pop(sequence, None)
        if slot is not None:
            self._free.append(slot)

    def _grow(self, device: torch.device) -> None:
        num_slots, vocab_size = self.factors.shape
        num_more = max(num_slots, 4)
        more = torch.empty(num_more, vocab_size, device=device)
        self.factors = torch.cat((self.factors.to(device), more))
        self.deductions = torch.cat((self.deductions.to(device), more))
        self.counts = torch.cat((self.counts.to(device), more.int()))
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
        self._penalties = None
        penalised = [i for i, s in enumerate(sequences) if _has_penalty(s.sampling)]
        if penalised:
            self._rows = Rows(penalised, out_of=len(sequences), device=device)
            settings = [sequences[i].sampling for i in penalised]
            slots = [table.slot(sequences[i], device) for i in penalised]
            self._penalties = Penalties.of(settings, slots, device)
        self._guarded = [
            (row, sequence)
            for row, sequence in enumerate(sequences)
            if sequence.sampling.stop_token_ids and _is_early(sequence)
        ]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to change."""
        return self._penalties is None and self._bias is None and not self._guarded

    def apply(self, logits: Tensor) -> None:
        """Change the batch's logits, float32 [sequences, vocab_size], in place."""
        if self._bias is not None:
            rows, ids, values = self._bias
            logits.index_put_((rows, ids), values, accumulate=True)
        if self._penalties is not None:
            self._apply_penalties(logits, self._penalties)
        if self._guarded:
            self._forbid_early_stops(logits)

    def note(self, tokens: Tensor) -> None:
        """These were drawn, one for each sequence of the batch; negative ones were not."""
        if self._penalties is not None:
            self._table.note(self._penalties, self._rows.of(tokens))

    def note_all(self, tokens: list[int]) -> None:
        """As `note`, for tokens that the host knows."""
        if self._penalties is not None:
            self.note(upload(tokens, self._device))

    def _apply_penalties(self, logits: Tensor, penalties: Penalties) -> None:
        part = self._rows.of(logits)
        if penalties.repetition is not None:
            factors = self._table.factors[penalties.slots]
            # One of the two halves is zero everywhere, so their sum is exact.
            positive = part.clamp(min=0)
            part.sub_(positive).mul_(factors).add_(positive.div_(factors))
        if penalties.frequency is not None:
            part.sub_(self._table.deductions[penalties.slots])
        self._rows.put(logits, part)

    def _forbid_early_stops(self, logits: Tensor) -> None:
        for row, sequence in self._guarded:
            if not _is_early(sequence):
                continue
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
        rows = [row for row, (part, _) in zip(biased, named, strict=True) for _ in part]
        return upload(rows, self._device), ids, values


def changes(sequence: Sequence) -> bool:
    """Whether anything here concerns the sequence's next token."""
    sampling = sequence.sampling
    is_guarded = bool(sampling.stop_token_ids) and _is_early(sequence)
    return bool(sampling.logit_bias) or is_guarded or _has_penalty(sampling)


def _has_penalty(sampling: SamplingParams) -> bool:
    return bool(
        sampling.presence_penalty or sampling.frequency_penalty or sampling.repetition_penalty != 1
    )


def _is_early(sequence: Sequence) -> bool:
    """Whether the next token may not be a stop token yet."""
    return sequence.length - sequence.num_prompt < sequence.sampling.min_tokens
