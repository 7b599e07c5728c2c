"""What one forward pass is about: tokens, where their cache rows lie, and who attends to what.

The contract between runner (which builds it), model and kernels. Knows nothing of requests.
"""

from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import torch
from torch import Tensor

from glimt.engine.transfer import send


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """T new tokens of S sequences, sequence after sequence.

    Sequences with one new token come first, then short chunks, then long ones, so that each of
    the three kinds of attention works on one slice. One new token behind a context much longer than
    those of the others counts as a short chunk: together, all would be padded to it.

    Attributes:
        tokens: [T] int64, token ids.
        sources: [T] int64, which row of what the step before drew is the token, if that step is in
            flight; -1 where it is known. `None` if all are.
        positions: [T] int64, each token's place in its sequence.
        slots: [T] int64, each token's row in the flat pool: page * PAGE_SIZE + offset.
        page_table: [S, P] int64, the pages of each sequence in order; padded with any valid page.
        query_starts: S + 1 offsets into the T tokens.
        context_lengths: S lengths, the new tokens included.
        wanted: [D] int64, the tokens whose logits are asked for, in the order of the answer.
        num_decodes: How many sequences, from the first, have exactly one new token and contexts
            of like length.
        num_latent: How many sequences, from the first, attend to latents; the others expand them.
        decode_pages: [num_decodes * P'] int64, the page table of the decodes alone, no wider than
            the longest of them needs, row after row.
        decode_mask: [num_decodes, 1, longest context of a decode] in the model's dtype, added to
            their scores: 0 where there is a key, minus infinity beyond a sequence's end; `None`
            when there are fewer than two decodes.
        owners: [num_latent_tokens] int64, the row of `page_table` of each latent query's sequence;
            `None` where the kernels go sequence by sequence.
        visible: [num_latent_tokens] int64, how many rows of its sequence a latent query sees: its
            position and one; zero for one that only pads the batch. `None` as `owners`.
    """

    tokens: Tensor
    positions: Tensor
    slots: Tensor
    page_table: Tensor
    query_starts: tuple[int, ...]
    context_lengths: tuple[int, ...]
    wanted: Tensor
    num_decodes: int
    num_latent: int
    decode_pages: Tensor
    decode_mask: Tensor | None
    owners: Tensor | None = None
    visible: Tensor | None = None
    sources: Tensor | None = None

    @property
    def num_latent_tokens(self) -> int:
        """How many of the T tokens attend to latents."""
        return self.query_starts[self.num_latent]

    def on(self, device: torch.device) -> "Batch":
        """The same batch with its tensors on a device, where copies wait for nothing."""
        if device.type == "cpu":
            return self
        tensors = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(
            self, **{name: send(t, device) for name, t in tensors.items() if isinstance(t, Tensor)}
        )

    def fill_in(self, before: Tensor | None) -> "Batch":
        """The batch with the tokens that the step before drew, int64 [rows].

        A negative one, which is no token, is computed as any other; nobody will want the result.
        """
        if self.sources is None:
            return self
        assert before is not None, "the step before is in flight"
        return replace(self, tokens=fill_in(self.tokens, self.sources, before).clamp(min=0))


class NewTokens(NamedTuple):
    """Tokens on their way through the attention of one layer.

    Attributes:
        down: [N, q_rank + rank + rope], the query's latent and what becomes the cache row; kernels
            may overwrite it.
        rotations: [N, rope / 2] complex64.
        slots: [N] int64, where the cache rows go.
    """

    down: Tensor
    rotations: Tensor
    slots: Tensor

    def part(self, wanted: slice) -> "NewTokens":
        """Some of the tokens."""
        return NewTokens(self.down[wanted], self.rotations[wanted], self.slots[wanted])


def fill_in(tokens: Tensor, sources: Tensor, before: Tensor) -> Tensor:
    """`tokens`, but what was drawn before where a source says so: [T] each."""
    return torch.where(sources < 0, tokens, before.index_select(0, sources.clamp(min=0)))
