"""The CPU's kernels against their definitions, on both sides of every switch."""

import random
from typing import Any

import pytest
import torch
from torch import Tensor

from glimt.engine.batch import Batch
from glimt.engine.config import ModelConfig, parse_config
from glimt.engine.kernels import cpu, cpu_attention, reference
from glimt.engine.kernels.cpu import CpuKernels
from glimt.engine.settings import PAGE_SIZE
from tests.engine.checkpoints import TINY

DTYPES = [torch.float32, torch.bfloat16]
TOLERANCE = {torch.float32: 2e-5, torch.bfloat16: 4e-2}


def config_of(**changes: Any) -> ModelConfig:
    """A small shape."""
    return parse_config({"model_type": "glm4_moe_lite", **TINY, **changes})


def rand(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Normal values, the same on every run."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))).to(dtype)


def close(ours: Tensor, theirs: Tensor) -> None:
    """Equal to what the dtype resolves."""
    tolerance = TOLERANCE[ours.dtype]
    torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("num_rows", [1, 7, 8, 33])
def test_linear(dtype: torch.dtype, num_rows: int) -> None:
    """Products agree on both sides of the switch to packed weights, for slices too, twice."""
    kernels, weight = CpuKernels(), rand(256, 256, dtype=dtype)
    wide = rand(num_rows, 300, dtype=dtype)
    for values in (wide[:, :256].contiguous(), wide[:, 20:276]):
        for _ in range(2):
            torch.testing.assert_close(
                kernels.linear(values, weight),
                reference.linear(values, weight),
                atol=2e-3 if dtype is torch.float32 else 0.5,
                rtol=1e-2,
            )


@pytest.mark.parametrize("dtype", DTYPES)
def test_rms_norm(dtype: torch.dtype) -> None:
    """The norm agrees for ordinary, tiny, zero and large rows, and each eps counts."""
    for eps in (1e-5, 1e-2):
        kernels, weight = CpuKernels(), rand(48, dtype=dtype)
        values = rand(6, 60, dtype=dtype)[:, :48]
        values = values * torch.tensor([1, 1e-3, 0, 1e4, 1e-6, 3], dtype=dtype)[:, None]
        close(kernels.rms_norm(values, weight, eps), reference.rms_norm(values, weight, eps))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("plain", [16, 15])
def test_rotate(dtype: torch.dtype, plain: int) -> None:
    """Rotation agrees in place, for heads and for rows, where pairs are aligned and where not."""
    turns = reference.rotary_table(50, 8, 1e4)[torch.tensor([0, 7, 49])]
    for shape in ((3, 4, plain + 8), (3, plain + 8)):
        ours = rand(*shape, dtype=dtype)
        theirs = ours.clone()
        CpuKernels().rotate(ours[..., plain:], turns)
        reference.rotate(theirs[..., plain:], turns)
        close(ours, theirs)


def test_rotation_is_by_position() -> None:
    """Scores of rotated vectors depend on the distance of their positions alone."""
    table = reference.rotary_table(100, 8, 1e4)
    query, key = rand(1, 8), rand(2, 8)[1:]

    def score(here: int, there: int) -> float:
        turned = query.clone(), key.clone()
        for vector, place in zip(turned, (here, there), strict=True):
            reference.rotate(vector, table[place : place + 1])
        return float((turned[0] * turned[1]).sum())

    assert score(9, 4) == pytest.approx(score(85, 80), abs=1e-4)
    assert score(9, 4) != pytest.approx(score(9, 5), abs=1e-4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_store(dtype: torch.dtype) -> None:
    """Rows land in their slots, normed and rotated, and nowhere else."""
    norm, turns = rand(40, dtype=dtype), reference.rotary_table(9, 8, 1e4)[:3]
    slots = torch.tensor([5, 70, 130])
    pools = [torch.full((3, PAGE_SIZE, 48), 9.0, dtype=dtype) for _ in range(2)]
    for kernels, pool in zip((CpuKernels(), reference), pools, strict=True):
        rows = rand(3, 60, dtype=dtype)[:, 12:]
        kernels.store(pool, rows, norm=norm, eps=1e-5, rotations=turns, slots=slots)
    close(pools[0], pools[1])
    assert int((pools[0] != 9).any(-1).sum()) == 3


def batch_of(counts: list[int], contexts: list[int], num_latent: int) -> Batch:
    """A batch over scattered pages; the fields that attention does not read are empty."""
    widths = [-(-context // PAGE_SIZE) for context in contexts]
    pages = random.Random(0).sample(range(sum(widths) + 4), sum(widths))
    rows = [[pages.pop() for _ in range(width)] for width in widths]
    num_decodes = counts.count(1)

    def table(rows: list[list[int]]) -> Tensor:
        widest = max(map(len, rows), default=0)
        return torch.tensor([row + [0] * (widest - len(row)) for row in rows], dtype=torch.int64)

    decodes = table(rows[:num_decodes])
    mask = None
    if num_decodes > 1:
        places = torch.arange(max(contexts[:num_decodes]))
        seen = places < torch.tensor(contexts[:num_decodes])[:, None, None]
        mask = torch.zeros(seen.shape).masked_fill(~seen, -torch.inf)
    empty = torch.empty(0, dtype=torch.int64)
    return Batch(
        tokens=empty,
        positions=empty,
        slots=empty,
        page_table=table(rows),
        query_starts=tuple(sum(counts[:i]) for i in range(len(counts) + 1)),
        context_lengths=tuple(contexts),
        wanted=empty,
        num_decodes=num_decodes,
        num_latent=num_latent,
        decode_pages=decodes.flatten(),
        decode_mask=mask,
    )


CASES = [
    ([1], [1]),
    ([1], [130]),
    ([1, 1, 1], [3, 64, 200]),
    ([5], [5]),
    ([70, 3], [70, 150]),
    ([1, 1, 20, 33], [65, 2, 40, 129]),
]


@pytest.mark.parametrize(("counts", "contexts"), CASES)
def test_latent_attention(
    counts: list[int], contexts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decodes and chunks, alone and together, in one block of scores or in many."""
    batch = batch_of(counts, contexts, num_latent=len(counts))
    pool, queries = rand(20, PAGE_SIZE, 48), rand(sum(counts), 5, 48)
    expected = reference.latent_attention(queries, pool, batch, rank=40, scale=0.2)
    for limit, round_from in (
        (cpu_attention.SCORES_BYTES, 8192),
        (5 * 200 * 4 * 7, 8192),
        (9000, 30),
    ):
        monkeypatch.setattr(cpu_attention, "SCORES_BYTES", limit)
        monkeypatch.setattr(cpu_attention, "ROUND_FROM", round_from)
        ours = CpuKernels().latent_attention(queries, pool, batch, rank=40, scale=0.2)
        close(ours, expected)


@pytest.mark.parametrize("value", [16, 24])
@pytest.mark.parametrize(("counts", "contexts"), CASES)
def test_expanded_attention(
    counts: list[int], contexts: list[int], value: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole prompts and chunks, values as wide as keys or not, in one block or in many."""
    batch = batch_of(counts, contexts, num_latent=0)
    pool, queries = rand(20, PAGE_SIZE, 48), rand(sum(counts), 5, 16)
    kv_b = rand(5 * (8 + value), 40) * 0.2
    expected = reference.expanded_attention(queries, pool, batch, kv_b, scale=0.25)
    close(CpuKernels().expanded_attention(queries, pool, batch, kv_b, scale=0.25), expected)
    monkeypatch.setattr(cpu_attention, "ROUND_FROM", 30)
    monkeypatch.setattr(cpu_attention, "SCORES_BYTES", 9000)
    monkeypatch.setattr(cpu, "EXPANDED_BYTES", 20_000)
    close(CpuKernels().expanded_attention(queries, pool, batch, kv_b, scale=0.25), expected)


@pytest.mark.parametrize(
    "changes", [{}, {"n_group": 4, "topk_group": 2}, {"norm_topk_prob": False}]
)
def test_route(changes: dict[str, Any]) -> None:
    """The same experts with the same shares."""
    config = config_of(**changes)
    hidden, router, bias = rand(9, 48), rand(8, 48), rand(8)
    ours = CpuKernels().route(hidden, router, bias, config)
    theirs = reference.route(hidden, router, bias, config)
    for row in range(9):
        mine, his = (
            dict(zip(chosen[row].tolist(), shares[row].tolist(), strict=True))
            for chosen, shares in (ours, theirs)
        )
        assert mine == pytest.approx(his, rel=1e-5)


def test_bias_steers_only_the_choice() -> None:
    """A bias that dwarfs the scores decides who is chosen and leaves the shares as they are."""
    config = config_of(norm_topk_prob=False, routed_scaling_factor=1.0)
    hidden, router = rand(4, 48), rand(8, 48)
    bias = torch.zeros(8)
    bias[torch.tensor([2, 6])] = 3e7
    chosen, shares = CpuKernels().route(hidden, router, bias, config)
    assert all(set(row) == {2, 6} for row in chosen.tolist())
    scores = (hidden @ router.T).sigmoid()
    torch.testing.assert_close(shares, scores.gather(1, chosen))


@pytest.mark.parametrize("num_shared", [0, 1, 2])
@pytest.mark.parametrize("num_tokens", [1, 2, 40])
def test_experts(num_tokens: int, num_shared: int) -> None:
    """One token or many, with unused experts, over shared experts or none."""
    hidden, gate_up, down = (
        rand(num_tokens, 48),
        rand(8 + num_shared, 32, 48),
        rand(8 + num_shared, 48, 16),
    )
    generator = torch.Generator().manual_seed(1)
    chosen = torch.stack([torch.randperm(6, generator=generator)[:2] for _ in range(num_tokens)])
    options: dict[str, Any] = {
        "chosen": chosen,
        "shares": torch.rand(num_tokens, 2, generator=generator),
        "num_shared": num_shared,
    }
    theirs = reference.experts(hidden, gate_up, down, **options)
    ours = CpuKernels().experts(hidden, gate_up, down, **options)
    torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-4)
