"""The model's tensors as they lie in memory, fused for the forward pass.

What is multiplied with the same input lies together: `q_a | kv_a`, `gate | up`, routed experts and
shared ones. Knows nothing of how they are used (`glimt.engine.model`) nor how a checkpoint names
them (`glimt.engine.loading`).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import cast

import torch
from torch import Tensor

from glimt.engine.config import ModelConfig
from glimt.engine.quantization import Form, Scaled, Weight, fp8_form


@dataclass(slots=True)
class Attention:
    """Latent attention. Rows of a projection are its outputs.

    `down` holds q_a, kv_a's latent and the shared rotated key: [q_rank + kv_rank + rope, H].
    `q_b` is [heads * (nope + rope), q_rank]; `kv_b` is [heads * (nope + value), kv_rank], for each
    head keys' rows before values'; `out` is [H, heads * value]. Each plain or in fp8.
    """

    down: Weight
    q_norm: Tensor
    kv_norm: Tensor
    q_b: Weight
    kv_b: Weight
    out: Weight


@dataclass(slots=True)
class Dense:
    """A gated feed-forward block: [2 * I, H] with the gate's rows first, and [H, I].

    Each plain or in fp8.
    """

    gate_up: Weight
    down: Weight


@dataclass(slots=True)
class Mixture:
    """Routed experts, then shared ones cut to the same width.

    `router` [E, H] and `bias` [E] are fp32 whatever the model's dtype; `gate_up` is
    [E + shared, 2 * I, H] and `down` [E + shared, H, I], plain or of few bits.
    """

    router: Tensor
    bias: Tensor
    gate_up: Weight
    down: Weight


@dataclass(slots=True)
class Layer:
    """One decoder layer; norms are [H]."""

    input_norm: Tensor
    attention: Attention
    post_norm: Tensor
    feed_forward: Dense | Mixture


@dataclass(slots=True)
class Prediction:
    """The multi-token-prediction layer. `join` is [H, 2 * H], the embedding's half first."""

    embedding_norm: Tensor
    hidden_norm: Tensor
    join: Tensor
    layer: Layer
    head_norm: Tensor
    embedding: Tensor
    head: Tensor


@dataclass(slots=True)
class Weights:
    """All of a model. `embedding` and `head` are [V, H], and one tensor when they are tied."""

    embedding: Tensor
    layers: list[Layer]
    final_norm: Tensor
    head: Tensor
    prediction: Prediction | None

    @property
    def num_parameters(self) -> int:
        """Values held, each tensor counted once."""
        counts: dict[int, int] = {}
        for weight in weights_of(self):
            if isinstance(weight, Scaled):
                counts[weight.numbers.data_ptr()] = weight.num_values
            else:
                counts[weight.data_ptr()] = weight.numel()
        return sum(counts.values())


def tensors_of(part: object) -> Iterator[Tensor]:
    """Every tensor under a dataclass of this module."""
    for weight in weights_of(part):
        if isinstance(weight, Scaled):
            yield from (weight.numbers, weight.scales)
        else:
            yield weight


def weights_of(part: object) -> Iterator[Weight]:
    """Every weight under a dataclass of this module."""
    if isinstance(part, Tensor | Scaled):
        yield part
    elif isinstance(part, list):
        for item in cast("list[object]", part):
            yield from weights_of(item)
    elif is_dataclass(part):
        for field in fields(part):
            yield from weights_of(getattr(part, field.name))


@dataclass(frozen=True, slots=True)
class Forms:
    """What is kept in few bits.

    Attributes:
        experts: Of the mixtures.
        layers: Rows and columns that share a scale where attention and dense blocks are in fp8;
            `None` for the columns is all of a row. What such blocks do not divide stays plain.
    """

    experts: Form | None = None
    layers: tuple[int, int | None] | None = None

    def of_layer(self, parts: Iterable[int], columns: int) -> Form | None:
        """Of a matrix of attention or a dense block, in parts of so many rows; `None` is plain."""
        if self.layers is None:
            return None
        rows, depth = self.layers
        return fp8_form(None if depth is None else (rows, depth), parts, columns)


PLAIN = Forms()


def allocate(
    config: ModelConfig,
    *,
    dtype: torch.dtype,
    device: torch.device,
    prediction: bool,
    forms: Forms = PLAIN,
) -> Weights:
    """Weights of the right shapes with arbitrary values."""

    def empty(*shape: int) -> Tensor:
        return torch.empty(shape, dtype=dtype, device=device)

    def matrix(*parts: int, columns: int) -> Weight:
        form, shape = forms.of_layer(parts, columns), (sum(parts), columns)
        return form.empty(*shape, device=device) if form is not None else empty(*shape)

    hidden, heads, kv_rank = config.hidden_size, config.num_heads, config.kv_lora_rank
    per_head = config.qk_nope_head_dim + config.v_head_dim

    def layer(*, sparse: bool) -> Layer:
        return Layer(
            input_norm=empty(hidden),
            attention=Attention(
                down=matrix(config.q_lora_rank, config.cache_width, columns=hidden),
                q_norm=empty(config.q_lora_rank),
                kv_norm=empty(kv_rank),
                q_b=matrix(heads * config.qk_head_dim, columns=config.q_lora_rank),
                kv_b=matrix(heads * per_head, columns=kv_rank),
                out=matrix(hidden, columns=heads * config.v_head_dim),
            ),
            post_norm=empty(hidden),
            feed_forward=_mixture(config, forms.experts, dtype=dtype, device=device)
            if sparse
            else Dense(
                gate_up=matrix(*[config.intermediate_size] * 2, columns=hidden),
                down=matrix(hidden, columns=config.intermediate_size),
            ),
        )

    embedding = empty(config.vocab_size, hidden)
    head = embedding if config.tie_word_embeddings else empty(config.vocab_size, hidden)
    return Weights(
        embedding=embedding,
        layers=[layer(sparse=sparse) for sparse in config.sparse_layers],
        final_norm=empty(hidden),
        head=head,
        prediction=Prediction(
            embedding_norm=empty(hidden),
            hidden_norm=empty(hidden),
            join=empty(hidden, 2 * hidden),
            layer=layer(sparse=True),
            head_norm=empty(hidden),
            embedding=embedding,
            head=head,
        )
        if prediction
        else None,
    )


def _mixture(
    config: ModelConfig, experts: Form | None, *, dtype: torch.dtype, device: torch.device
) -> Mixture:
    hidden, width, count = config.hidden_size, config.moe_intermediate_size, config.num_experts
    total = count + config.num_shared_experts

    def empty(*shape: int) -> Weight:
        if experts is not None:
            return experts.empty(*shape, device=device)
        return torch.empty(shape, dtype=dtype, device=device)

    return Mixture(
        router=torch.empty(count, hidden, dtype=torch.float32, device=device),
        bias=torch.empty(count, dtype=torch.float32, device=device),
        gate_up=empty(total, 2 * width, hidden),
        down=empty(total, hidden, width),
    )


def randomize(weights: Weights, seed: int) -> None:
    """Fill with seeded random values that keep activations near unit size, for benchmarks."""
    generator = torch.Generator(device=weights.embedding.device).manual_seed(seed)
    for weight in weights_of(weights):
        if isinstance(weight, Scaled):
            _randomize_scaled(weight, generator)
        elif weight.dim() == 1:
            weight.fill_(1.0)
        else:
            weight.normal_(0.0, weight.shape[-1] ** -0.5, generator=generator)
    extra = [weights.prediction.layer] if weights.prediction else []
    for layer in weights.layers + extra:
        if isinstance(layer.feed_forward, Mixture):
            layer.feed_forward.bias.zero_()


def _randomize_scaled(weight: Scaled, generator: torch.Generator) -> None:
    """Numbers that fill their range, with scales that make up for it."""
    columns = weight.numbers.shape[-1] * (2 if weight.is_packed else 1)
    spread = 2.0 if weight.is_packed else 64.0
    weight.scales.fill_(columns**-0.5 / spread)
    # Matrix by matrix: what is drawn in between is in fp32.
    for numbers in weight.numbers.view(-1, *weight.numbers.shape[-2:]):
        if weight.is_packed:
            numbers.random_(0, 256, generator=generator)
        else:
            drawn = torch.empty(numbers.shape, device=numbers.device)
            numbers.copy_(drawn.normal_(0.0, spread, generator=generator))


def count_parameters(config: ModelConfig) -> int:
    """Values that a model of this shape holds, the prediction layer left out."""
    weights = allocate(config, dtype=torch.float32, device=torch.device("meta"), prediction=False)
    return sum(tensor.numel() for tensor in tensors_of(weights))
