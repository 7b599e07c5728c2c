"""The programs of one layer for benchmarks/gpu.py: what to run, and the bytes it must move.

Sizes come from a configuration and tensors lie on any device, so that all of it can be tried in
Triton's interpreter at a small size: `TRITON_INTERPRET=1 python benchmarks/gpu_kernels.py`.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from glimt.engine.batch import NewTokens
from glimt.engine.config import ModelConfig, parse_config
from glimt.engine.kernels.gpu.attention import attend, attend_values
from glimt.engine.kernels.gpu.backend import TritonKernels
from glimt.engine.kernels.gpu.few_experts import experts_of_few
from glimt.engine.kernels.gpu.matvec import matvec
from glimt.engine.kernels.gpu.queries import queries_of_few, values_of_few
from glimt.engine.kernels.gpu.router import route_of_few
from glimt.engine.kernels.reference import rotary_table
from glimt.engine.quantization import Scaled, Weight, pack, quantize
from glimt.engine.settings import PAGE_SIZE

FEW = (1, 8)
"""Tokens of a step that takes the fused programs."""

MANY = (1, 4, 8, 16, 17, 64, 256)
"""Tokens on both sides of the switch between the forms of a mixture."""


@dataclass(frozen=True)
class Case:
    """A program, or a few that belong together, with the bytes that it cannot do without."""

    name: str
    num_bytes: int
    work: Callable[[], Any]


class Cases:
    """The cases of a model of this shape."""

    def __init__(self, config: ModelConfig, device: torch.device) -> None:
        self.config = config
        self.device = device

    def rand(self, *shape: int) -> Tensor:
        """Normal values, as large as weights are."""
        values = torch.randn(shape, dtype=torch.bfloat16, device=self.device)
        return values * shape[-1] ** -0.5

    def kinds(self, *shape: int) -> Iterator[tuple[str, Weight]]:
        """A weight in bf16, and in fp8 where blocks divide it."""
        weight = self.rand(*shape)
        yield "", weight
        if all(size % 128 == 0 for size in shape[-2:]):
            yield ", fp8", Scaled(*quantize(weight))

    def all(self) -> Iterator[Case]:
        """In the order of a layer, then the head."""
        yield from self.projections()
        yield from self.heads()
        yield from self.attention()
        yield from self.router()
        yield from self.mixtures()

    def projections(self) -> Iterator[Case]:
        """Products with a norm before them, or a sum after."""
        config = self.config
        hidden, norm = config.hidden_size, self.rand(config.hidden_size)
        for count in FEW:
            stream = self.rand(count, hidden)
            weight = self.rand(config.q_lora_rank + config.cache_width, hidden)
            yield Case(
                f"norm, q_a and kv_a, {count} rows",
                size_of(weight),
                lambda w=weight, v=stream: matvec(v, w, norm=norm, eps=1e-5),
            )
            values = self.rand(count, config.num_heads * config.v_head_dim)
            for kind, weight in self.kinds(hidden, values.shape[1]):
                yield Case(
                    f"out and sum, {count} rows{kind}",
                    size_of(weight),
                    lambda w=weight, v=values, s=stream: matvec(v, w, residual=s),
                )
            for kind, weight in self.kinds(config.vocab_size, hidden):
                yield Case(
                    f"head, {count} rows{kind}",
                    size_of(weight),
                    lambda w=weight, v=stream: matvec(v, w),
                )

    def heads(self) -> Iterator[Case]:
        """Queries, cache rows, and the way out of the latent space."""
        config = self.config
        per_head = config.qk_nope_head_dim + config.v_head_dim
        norms = self.rand(config.q_lora_rank), self.rand(config.kv_lora_rank)
        pool = self.rand(4, PAGE_SIZE, config.cache_width)
        for count in FEW:
            new = NewTokens(
                self.rand(count, config.q_lora_rank + config.cache_width),
                rotary_table(count, config.qk_rope_head_dim, 1e4).to(self.device),
                torch.arange(count, device=self.device),
            )
            found = self.rand(count, config.num_heads, config.kv_lora_rank)
            q_bs = self.kinds(config.num_heads * config.qk_head_dim, config.q_lora_rank)
            kv_bs = self.kinds(config.num_heads * per_head, config.kv_lora_rank)
            for (kind, q_b), (_, kv_b) in zip(q_bs, kv_bs, strict=False):
                carried = size_of(kv_b) * config.qk_nope_head_dim // per_head
                yield Case(
                    f"queries, carried, and cache, {count} rows{kind}",
                    size_of(q_b) + carried,
                    lambda w=q_b, b=kv_b, n=new: queries_of_few(
                        pool, n, w, b, heads=config.num_heads, norms=norms, eps=1e-5
                    ),
                )
                yield Case(
                    f"values, {count} rows{kind}",
                    size_of(kv_b) - carried,
                    lambda b=kv_b, f=found: values_of_few(f, b, num_values=config.v_head_dim),
                )

    def attention(
        self, sizes: tuple[tuple[int, int], ...] = ((1, 1024), (1, 32768), (1, 131072), (64, 1024))
    ) -> Iterator[Case]:
        """Few queries to long and short contexts, with the way out of the latent space for one."""
        config = self.config
        per_head = config.qk_nope_head_dim + config.v_head_dim
        kv_b = self.rand(config.num_heads * per_head, config.kv_lora_rank)
        for count, context in sizes:
            pages = -(-context // PAGE_SIZE)
            pool = self.rand(count * pages, PAGE_SIZE, config.cache_width)
            table = torch.randperm(count * pages, device=self.device).view(count, pages)
            queries = self.rand(count, config.num_heads, config.cache_width)
            options = {
                "owners": torch.arange(count, device=self.device),
                "visible": torch.full((count,), context, device=self.device),
                "scale": 0.06,
            }
            cached = count * context * config.cache_width * 2
            yield Case(
                f"attention, {count} x {context}",
                cached,
                lambda q=queries, p=pool, t=table, o=options: attend(
                    q, p, t, rank=config.kv_lora_rank, **o
                ),
            )
            if count == 1:
                yield Case(
                    f"attention and values, {count} x {context}",
                    cached + size_of(kv_b) * config.v_head_dim // per_head,
                    lambda q=queries, p=pool, t=table, o=options: attend_values(
                        q, p, t, kv_b, num_values=config.v_head_dim, **o
                    ),
                )

    def router(self) -> Iterator[Case]:
        """Norm, scores and choice."""
        config = self.config
        weight = self.rand(config.num_experts, config.hidden_size).float()
        bias, norm = weight[:, 0].contiguous(), self.rand(config.hidden_size)
        ended = torch.zeros(16, dtype=torch.int32, device=self.device)
        for count in FEW:
            stream = self.rand(count, config.hidden_size)
            yield Case(
                f"norm and router, {count} rows",
                weight.nbytes,
                lambda v=stream: route_of_few(
                    v, weight, bias, norm=norm, config=config, ended=ended
                ),
            )

    def mixtures(self) -> Iterator[Case]:
        """Experts, fused with norm and sum for few tokens, alone for many."""
        config, kernels = self.config, TritonKernels()
        hidden, width = config.hidden_size, config.moe_intermediate_size
        total, norm = config.num_experts + config.num_shared_experts, self.rand(hidden)
        gate_up, down = self.rand(total, 2 * width, hidden), self.rand(total, hidden, width)
        kinds: dict[str, tuple[Weight, Weight]] = {"": (gate_up, down)}
        if hidden % 128 == 0 and width % 128 == 0:
            kinds[", fp8"] = Scaled(*quantize(gate_up)), Scaled(*quantize(down))
            kinds[", int4"] = pack(gate_up, 128), pack(down, 128)
        for count in MANY:
            chosen = torch.rand(count, config.num_experts, device=self.device)
            chosen = chosen.topk(config.num_experts_per_token).indices
            options = {
                "chosen": chosen,
                "shares": torch.full(chosen.shape, 0.45, device=self.device),
                "num_shared": config.num_shared_experts,
            }
            values = self.rand(count, hidden)
            distinct = len(chosen.unique()) + config.num_shared_experts
            for kind, (first, second) in kinds.items():
                num_bytes = distinct * (size_of(first) + size_of(second)) // total
                if count <= 16:
                    yield Case(
                        f"norm, experts and sum, {count} tokens{kind}",
                        num_bytes,
                        lambda v=values, f=first, s=second, o=options: experts_of_few(
                            v, f, s, norm=(norm, 1e-5), **o
                        ),
                    )
                else:
                    yield Case(
                        f"experts, {count} tokens{kind}",
                        num_bytes,
                        lambda v=values, f=first, s=second, o=options: kernels.experts(
                            v, f, s, **o
                        ),
                    )


def size_of(weight: Weight) -> int:
    """Bytes, scales included."""
    if isinstance(weight, Scaled):
        return weight.numbers.nbytes + weight.scales.nbytes
    return weight.nbytes


def main() -> int:
    """Run every case once, at a small size."""
    from tests.engine.kernels.gpu.programs import let_bounds_be_tensors  # noqa: PLC0415

    let_bounds_be_tensors()
    shape = {
        "model_type": "glm4_moe_lite", "vocab_size": 256, "hidden_size": 128,
        "intermediate_size": 128, "moe_intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 2, "q_lora_rank": 128,
        "kv_lora_rank": 128, "qk_nope_head_dim": 96, "qk_rope_head_dim": 32, "v_head_dim": 32,
        "n_routed_experts": 8, "num_experts_per_tok": 2, "n_shared_experts": 1, "n_group": 1,
        "topk_group": 1, "norm_topk_prob": True, "first_k_dense_replace": 1,
        "max_position_embeddings": 512, "rope_theta": 1e4, "rms_norm_eps": 1e-5,
        "routed_scaling_factor": 1.8, "tie_word_embeddings": False, "dtype": "bfloat16",
        "eos_token_id": [0],
    }  # fmt: skip
    cases = Cases(parse_config(shape), torch.device("cpu"))
    for part in (
        cases.projections(),
        cases.heads(),
        cases.attention(((1, 100), (2, 64))),
        cases.router(),
        cases.mixtures(),
    ):
        for case in part:
            case.work()
            print(f"{case.name:50}{case.num_bytes:>10} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
