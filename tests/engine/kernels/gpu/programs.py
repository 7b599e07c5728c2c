"""Every Triton program against its definition, in the interpreter or on a GPU: run by test_gpu.

`TRITON_INTERPRET=1 python -m tests.engine.kernels.gpu.programs` prints a line for each comparison
and fails at the first that does not hold. A process of its own, because Triton reads the variable
once. Without it the same comparisons run compiled, on a GPU.
"""

import itertools
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from triton.runtime import interpreter

from glimt.engine import model as model_module
from glimt.engine.batch import NewTokens
from glimt.engine.config import ModelConfig
from glimt.engine.kernels import reference
from glimt.engine.kernels.gpu import (
    attention as attention_programs,
    few_experts as few_programs,
    tile,
)
from glimt.engine.kernels.gpu.backend import TritonKernels
from glimt.engine.kernels.gpu.experts import experts_of_many, sort_by_expert
from glimt.engine.kernels.gpu.few_experts import experts_of_few
from glimt.engine.kernels.gpu.tile import INTERPRETED
from glimt.engine.model import Model
from glimt.engine.quantization import Form, Scaled, pack
from glimt.engine.settings import PAGE_SIZE
from glimt.engine.weights import Forms, Weights, allocate, randomize
from tests.engine.kernels.gpu.launches import Launches
from tests.engine.kernels.test_cpu import CASES, batch_of, config_of

TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 6e-2}
OURS = TritonKernels()
DEVICE = torch.device("cpu" if INTERPRETED else "cuda")
GENERATOR = torch.Generator().manual_seed(0)

Compared = Iterator[tuple[str, Tensor, Tensor]]


def rand(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Normal values on the device."""
    return torch.randn(shape, generator=GENERATOR).to(DEVICE, dtype)


def norms(dtype: torch.dtype) -> Compared:
    """Norms of rows that are slices, of a width that is no power of two."""
    for size in (48, 64, 7):
        values, weight = rand(3, size + 12, dtype=dtype)[:, 5 : 5 + size], rand(size, dtype=dtype)
        yield f"norm of {size}", *(k.rms_norm(values, weight, 1e-5) for k in (OURS, reference))


def cache(dtype: torch.dtype) -> Compared:
    """Rotation of heads and rows in place, and rows in their slots and nowhere else."""
    turns = reference.rotary_table(50, 12, 1e4)[[0, 7, 49]].to(DEVICE)
    for shape in ((3, 4, 20), (3, 20)):
        ours = rand(*shape, dtype=dtype)
        theirs = ours.clone()
        OURS.rotate(ours[..., 8:], turns)
        reference.rotate(theirs[..., 8:], turns)
        yield f"rotation of {shape}", ours, theirs
    slots, norm = torch.tensor([5, 70, 130], device=DEVICE), rand(40, dtype=dtype)
    pools = [torch.full((3, PAGE_SIZE, 52), 9.0, dtype=dtype, device=DEVICE) for _ in range(2)]
    rows = rand(3, 60, dtype=dtype)[:, 8:]
    for kernels, pool in zip((OURS, reference), pools, strict=True):
        kernels.store(pool, rows.clone(), norm=norm, eps=1e-5, rotations=turns, slots=slots)
    yield "cache rows", *pools


def products(dtype: torch.dtype) -> Compared:
    """Products of one row and of a tile of rows, of ragged sizes; with fp8 weights too."""
    for num_rows, num_out, size in itertools.product((1, 5, 16), (70, 16), (200, 33)):
        values = rand(num_rows, size + 3, dtype=dtype)[:, 3:]
        weight = rand(num_out, size, dtype=dtype) * size**-0.5
        name = f"{num_rows} x {size} x {num_out}"
        yield name, *(kernels.linear(values, weight) for kernels in (OURS, reference))
        norm, residual = rand(size, dtype=dtype), rand(num_rows, num_out, dtype=dtype)
        # Values so small and so large that the norm's eps counts, and that the norm does.
        for factor in (1e-2, 30.0):
            some = values * factor
            pair = (k.norm_project(some, weight, norm=norm, eps=1e-4) for k in (OURS, reference))
            yield f"norm and {name}", *pair
        pair = (k.project_add(values, weight, residual.clone()) for k in (OURS, reference))
        yield f"{name} and sum", *pair


FP8 = (Form(int4=False, rows=32, columns=64), Form(int4=False, rows=1, columns=None))


def scaled_products(dtype: torch.dtype) -> Compared:
    """The same with weights in fp8, with blocks' scales and rows' scales."""
    for num_rows, form, size in itertools.product((1, 3, 70), FP8, (192, 64)):
        values, norm = rand(num_rows, size, dtype=dtype), rand(size, dtype=dtype)
        weight = rounded(rand(96, size) * size**-0.5, form)
        name = f"{num_rows} x {size} x 96 in fp8 ({form.rows})"
        yield name, *(k.linear(values, weight) for k in (OURS, reference))
        if num_rows > 16:
            continue
        pair = (k.norm_project(values, weight, norm=norm, eps=1e-4) for k in (OURS, reference))
        yield f"norm and {name}", *pair


def queries(dtype: torch.dtype) -> Compared:
    """Cache rows and queries, plain and carried, with plain weights and in fp8."""
    heads, nope, rope, value, rank, q_rank = 3, 20, 12, 24, 64, 128
    norms = rand(q_rank, dtype=dtype), rand(rank, dtype=dtype)
    forms = (None, *FP8)
    for count, form, carried in itertools.product((1, 5), forms, (False, True)):
        new = NewTokens(
            rand(count, q_rank + rank + rope, dtype=dtype),
            reference.rotary_table(50, rope, 1e4)[[0, 7, 49, 3, 11][:count]].to(DEVICE),
            torch.tensor([5, 70, 130, 128, 0][:count], device=DEVICE),
        )
        weight = rand(heads * (nope + rope), q_rank) * q_rank**-0.5
        kv_b = rand(heads * (nope + value) - 4 + 32, rank)[: heads * (nope + value)] * 0.2
        weight, kv_b = (
            each.to(dtype) if form is None else rounded(padded(each), form)
            for each in (weight, kv_b)
        )
        pools = [torch.full((3, PAGE_SIZE, rank + rope), 9.0, dtype=dtype, device=DEVICE)] * 2
        results = []
        for index, kernels in enumerate((OURS, reference)):
            pools[index] = pools[index].clone()
            copy = new._replace(down=new.down.clone())
            options = {"heads": heads, "norms": norms, "eps": 1e-4}
            results.append(
                kernels.queries(pools[index], copy, weight, kv_b if carried else None, **options)
            )
        name = f"queries of {count}" + (", carried" if carried else "")
        yield f"{name}{', in fp8' if form else ''}", *results
        yield f"rows of {count}", *pools
        found = rand(count, heads, rank, dtype=dtype)
        pair = (k.to_values(found, kv_b, num_values=value) for k in (OURS, reference))
        yield f"values of {count}{', in fp8' if form else ''}", *pair


def padded(weight: Tensor) -> Tensor:
    """Rows are a multiple of a block, as they are in real weights."""
    assert len(weight) % 32 in {0, 4}
    return weight


def attention(dtype: torch.dtype) -> Compared:
    """Queries of decodes and chunks over scattered pages, and one that sees nothing."""
    pool = rand(24, PAGE_SIZE, 48, dtype=dtype)
    for (counts, contexts), heads in zip(CASES, (20, 5, 5, 5, 16, 33), strict=True):
        batch = batch_of(counts, contexts, num_latent=len(counts))
        batch = replace(
            batch, page_table=batch.page_table.to(DEVICE), **owners_of(counts, contexts)
        )
        queries = rand(sum(counts), heads, 48, dtype=dtype)
        if len(queries) > 8:  # the last ones will do
            last = len(queries) - 4
            batch = replace(batch, owners=batch.owners[last:], visible=batch.visible[last:])
            ours = OURS.latent_attention(queries[last:], pool, batch, rank=40, scale=0.2)
        else:
            last = 0
            ours = OURS.latent_attention(queries, pool, batch, rank=40, scale=0.2)
        theirs = reference.latent_attention(queries, pool, batch, rank=40, scale=0.2)[last:]
        yield f"attention of {counts} to {contexts}", ours, theirs
        if len(queries) <= 4:
            kv_b = rand(heads * 30, 40, dtype=dtype) * 0.2
            pair = (
                k.latent_values(queries, pool, batch, kv_b, rank=40, num_values=20, scale=0.2)
                for k in (OURS, reference)
            )
            yield f"attention of {counts} to {contexts}, values", *pair
    batch = replace(batch, visible=torch.zeros_like(batch.visible))
    nothing = OURS.latent_attention(queries[last:], pool, batch, rank=40, scale=0.2)
    yield "attention to nothing", nothing, torch.zeros_like(nothing)
    for counts, contexts in (([5], [5]), ([17, 3], [70, 150])):
        batch = batch_of(counts, contexts, num_latent=0)
        batch = replace(batch, page_table=batch.page_table.to(DEVICE))
        queries, kv_b = rand(sum(counts), 5, 16, dtype=dtype), rand(5 * 24, 40, dtype=dtype) * 0.2
        yield (
            f"expanded attention of {counts}",
            *(
                kernels.expanded_attention(queries, pool, batch, kv_b, scale=0.25)
                for kernels in (OURS, reference)
            ),
        )


def owners_of(counts: list[int], contexts: list[int]) -> dict[str, Tensor]:
    """The batch's fields that kernels on a GPU read instead of its tuples."""
    owners = [index for index, count in enumerate(counts) for _ in range(count)]
    visible = [
        context - count + place + 1
        for count, context in zip(counts, contexts, strict=True)
        for place in range(count)
    ]
    return {
        "owners": torch.tensor(owners, device=DEVICE),
        "visible": torch.tensor(visible, device=DEVICE),
    }


def mixtures(dtype: torch.dtype) -> Compared:
    """Both forms of the mixture, on few and many tokens, with and without shared experts."""
    for num_tokens, num_shared, width in ((1, 1, 24), (2, 0, 40), (150, 1, 24)):
        gate_up = rand(8 + num_shared, 2 * width, 48, dtype=dtype) * 0.2
        down = rand(8 + num_shared, 48, width, dtype=dtype) * 0.2
        hidden = rand(num_tokens, 48, dtype=dtype)
        chosen = torch.rand(num_tokens, 8, generator=GENERATOR).topk(2).indices.to(DEVICE)
        options = {
            "chosen": chosen,
            "shares": rand(num_tokens, 2).abs(),
            "num_shared": num_shared,
        }
        theirs = reference.experts(hidden, gate_up, down, **options)
        # The interpreter's time goes by programs, of which the first form has one a token.
        for form in (experts_of_few, experts_of_many) if num_tokens < 20 else (experts_of_many,):
            ours = form(hidden, gate_up, down, **options)
            # In bf16 a sum whose terms cancel keeps their rounding: rows are held to a limit there,
            # and every value in fp32.
            pair = (ours, theirs) if dtype is torch.float32 else by_row(ours, theirs)
            yield f"{form.__name__}: {num_tokens} tokens", *pair
    hidden, gate_up, down = rand(2, 48, dtype=dtype), rand(72, 48, dtype=dtype), rand(48, 36)
    gate_up, down = gate_up * 0.2, (down * 0.2).to(dtype)
    yield "dense", *(k.feed_forward(hidden, gate_up, down) for k in (OURS, reference))


def scaled_mixtures(dtype: torch.dtype) -> Compared:
    """Experts of few bits: int4 by group, fp8 by block and by row, of every number of tokens."""
    forms = (
        Form(int4=True, rows=1, columns=32),
        Form(int4=False, rows=32, columns=32),
        Form(int4=False, rows=1, columns=None),
    )
    for form, (num_tokens, num_shared) in itertools.product(forms, ((1, 1), (2, 0), (20, 1))):
        width, hidden_size = (64, 96) if form.columns else (40, 72)
        plain = [
            rand(8 + num_shared, 2 * width, hidden_size) * 0.2,
            rand(8 + num_shared, hidden_size, width) * 0.2,
        ]
        gate_up, down = (rounded(weight, form) for weight in plain)
        hidden = rand(num_tokens, hidden_size, dtype=dtype)
        options = {
            "chosen": torch.rand(num_tokens, 8, generator=GENERATOR).topk(2).indices.to(DEVICE),
            "shares": rand(num_tokens, 2).abs(),
            "num_shared": num_shared,
        }
        theirs = reference.experts(hidden, gate_up, down, **options)
        ours = OURS.experts(hidden, gate_up, down, **options)
        pair = (ours, theirs) if dtype is torch.float32 else by_row(ours, theirs)
        kind = "int4" if form.int4 else f"fp8 ({form.rows})"
        yield f"experts in {kind} of {num_tokens}", *pair


def rounded(weight: Tensor, form: Form) -> Scaled:
    """Random numbers of that form, with random scales."""
    if form.int4:
        return pack(weight, form.columns or weight.shape[-1])
    kept = form.empty(*weight.shape, device=DEVICE)
    kept.numbers.copy_((weight * 100).to(torch.float8_e4m3fn))
    kept.scales.copy_(rand(*kept.scales.shape).abs() * 0.01)
    return kept


def routing(dtype: torch.dtype) -> Compared:
    """The same experts with the same shares, where the bias decides and where it does not."""
    hidden, router = rand(6, 48, dtype=dtype), rand(8, 48)
    for normalize, bias in itertools.product((True, False), (rand(8), rand(8) * 1000)):
        config = config_of(norm_topk_prob=normalize)
        (ours, parts), (theirs, shares) = (
            kernels.route(hidden, router, bias, config) for kernels in (OURS, reference)
        )
        dense = torch.zeros(6, 8, device=DEVICE)
        yield "routing", dense.scatter(1, ours, parts), dense.scatter(1, theirs, shares)


def blocks(dtype: torch.dtype) -> Compared:
    """Feed-forward blocks from the stream to the stream, on few tokens and on more."""
    config = config_of()
    router, bias = rand(8, 48), rand(8)
    gate_up, down = rand(9, 64, 48) * 0.2, rand(9, 48, 32) * 0.2
    gate_up, down, norm = gate_up.to(dtype), down.to(dtype), rand(48, dtype=dtype)
    many = rand(40, 48, dtype=dtype)
    normed = reference.rms_norm(many, norm, config.rms_norm_eps).float()
    best = ((normed @ router.T).sigmoid() + bias).topk(3).values
    # A choice by a hair may fall either way; these do not.
    clear = many[best[:, 1] - best[:, 2] > 0.02]
    for count in (1, 3, 20):
        hidden = clear[:count]
        pair = (
            k.mixture(
                hidden.clone(), gate_up, down, norm=norm, router=router, bias=bias, config=config
            )
            for k in (OURS, reference)
        )
        yield f"mixture of {count}", *by_row(*pair)
        pair = (
            k.dense(hidden.clone(), gate_up[0], down[0], norm=norm, eps=1e-5)
            for k in (OURS, reference)
        )
        yield f"dense of {count}", *by_row(*pair)


def networks(dtype: torch.dtype) -> Compared:
    """A whole network over decodes, a draft, a short chunk and a long one, in fp32 alone.

    In bf16 single rows differ by half: taken to be experts chosen by a hair, which is not proven.
    """
    if dtype is not torch.float32:
        return
    config = config_of(num_hidden_layers=2)
    for forms in (Forms(), Forms(FP8[1], (1, None))):
        weights = allocate(config, dtype=dtype, device=DEVICE, prediction=False, forms=forms)
        randomize(weights, 0)
        # No value is wrong by much more than the others.
        name = "network" if forms.experts is None else "network in fp8"
        yield name, *by_row(*(forward(config, weights, kernels) for kernels in (OURS, reference)))


def forward(config: ModelConfig, weights: Weights, kernels: Any) -> Tensor:
    """Decodes, a draft, a short chunk and a long one."""
    dtype = weights.embedding.dtype
    counts, contexts = [1, 1, 2, 9], [3, 70, 66, 9]
    batch = batch_of(counts, contexts, num_latent=3)
    generator = torch.Generator().manual_seed(1)
    starts = [context - count for count, context in zip(counts, contexts, strict=True)]
    positions = [s + i for s, count in zip(starts, counts, strict=True) for i in range(count)]
    sequences = [index for index, count in enumerate(counts) for _ in range(count)]
    pages = [
        int(batch.page_table[s, p // PAGE_SIZE]) for s, p in zip(sequences, positions, strict=True)
    ]
    slots = [page * PAGE_SIZE + p % PAGE_SIZE for page, p in zip(pages, positions, strict=True)]
    batch = replace(
        batch,
        tokens=torch.randint(0, 160, (len(positions),), generator=generator).to(DEVICE),
        positions=torch.tensor(positions, device=DEVICE),
        slots=torch.tensor(slots, device=DEVICE),
        page_table=batch.page_table.to(DEVICE),
        **owners_of(counts[:3], contexts[:3]),
    )
    pool = torch.randn((2, 12, PAGE_SIZE, 48), generator=generator).to(DEVICE, dtype)
    return Model(config, weights, kernels).forward(batch, pool)


def programs_a_layer(count: int) -> int:
    """What one more layer adds to a step of so many tokens: programs, and operations of torch."""
    totals: list[int] = []
    limit, model_module.ABSORB_BELOW_BYTES = (
        model_module.ABSORB_BELOW_BYTES,
        0,
    )  # as if it were large
    for num_layers in (2, 3):
        config = config_of(num_hidden_layers=num_layers)
        weights = allocate(config, dtype=torch.float32, device=DEVICE, prediction=False)
        randomize(weights, 0)
        batch = batch_of([1] * count, [9] * count, num_latent=count)
        places = torch.arange(count, device=DEVICE)
        batch = replace(
            batch,
            tokens=places,
            positions=places,
            slots=places,
            page_table=batch.page_table.to(DEVICE),
            **owners_of([1] * count, [9] * count),
        )
        model = Model(config, weights, OURS)
        pool = rand(num_layers, 12, PAGE_SIZE, 48)
        with Launches() as launches:
            model.forward(batch, pool)
        totals.append(launches.count)
    model_module.ABSORB_BELOW_BYTES = limit
    return totals[1] - totals[0]


def by_row(ours: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
    """How long each row's difference is, in lengths of the row, and what it should be."""
    differences = (ours.float() - theirs.float()).norm(dim=1) / theirs.float().norm(dim=1)
    return differences, torch.zeros_like(differences)


def sorting(_: torch.dtype) -> Compared:
    """Every assignment is in exactly one tile, which is its expert's."""
    chosen = torch.randint(0, 7, (61,), generator=GENERATOR).to(DEVICE)
    for size in (4, 16, 64):
        order, tiles = sort_by_expert(chosen, 9, tile=size)
        order = order.view(len(tiles), size)
        real = order < 61
        yield "all are sorted", order[real].sort().values, torch.arange(61, device=DEVICE)
        owner = tiles[:, None].expand_as(order)[real]
        yield "to their experts", owner, chosen[order[real]]


def let_bounds_be_tensors() -> None:
    """Loops between bounds from the device: Triton 3.6 makes them int() of arrays of one element.

    NumPy 2.4 refuses that.
    """
    patch = interpreter._patch_lang_tensor

    def patch_more(tensor: Any, scope: Any) -> None:
        patch(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.item()))

    interpreter._patch_lang_tensor = patch_more


COUNTED = (1, 4, 5)

SUBJECTS = (
    norms, cache, products, scaled_products, queries, attention, mixtures, scaled_mixtures, routing,
    blocks, networks, sorting,
)  # fmt: skip


def main() -> None:
    """Compare everything in both dtypes; on a device with `--overlap` as programs that overlap."""
    tile.overlap = "--overlap" in sys.argv
    if INTERPRETED:
        let_bounds_be_tensors()
        # Time goes by programs.
        attention_programs.FULL_GRID = 6
        few_programs.UP_TILE = few_programs.DOWN_TILE = (32, 64)
    for dtype in (torch.float32, torch.bfloat16):
        for subject in SUBJECTS:
            for name, ours, theirs in subject(dtype):
                limit = TOLERANCE[dtype]
                torch.testing.assert_close(ours, theirs, atol=limit, rtol=limit, msg=None)
                difference = (ours.float() - theirs.float()).abs().max()
                print(f"{dtype!s:16}{name:44}{float(difference):.1e}")
    if INTERPRETED:
        for count in COUNTED:
            print(f"programs a layer, {count} tokens: {programs_a_layer(count)}")


if __name__ == "__main__":
    main()
