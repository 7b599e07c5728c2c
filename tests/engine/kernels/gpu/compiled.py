"""Every Triton program compiled for sm_90 at the sizes of GLM-4.7-Flash, without a GPU.

`python -m tests.engine.kernels.gpu.compiled` prints a line for each: its name, bytes of shared
memory a block, registers a thread, bytes spilled a thread, with `|` between them.
What a compiled program takes of a multiprocessor is what decides whether it can run and how many
of it run side by side: shared memory, registers, and spills, which are memory traffic.
"""

import re
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from glimt.engine.kernels.gpu import (
    attention,
    experts,
    few_experts,
    matvec,
    queries,
    router,
    rows,
    scaled_experts,
)
from glimt.engine.kernels.gpu.tile import layout
from glimt.engine.quantization import Form, Weight

TARGET = GPUTarget("cuda", 90, 32)
CUOBJDUMP = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
META = torch.device("meta")
FP8 = Form(int4=False, rows=64, columns=128)
FP8_TYPES = "fp8e4nv", "fp32"


@dataclass(frozen=True)
class Program:
    """A program with the types of its arguments (`*` is a pointer) and what is fixed."""

    function: Any
    types: dict[str, str]
    fixed: dict[str, Any]
    num_warps: int = 4
    num_stages: int = 3


@dataclass(frozen=True)
class Cost:
    """Bytes of shared memory a block, registers a thread, bytes of local memory a thread."""

    shared: int
    registers: int
    spilled: int


def pointers(kind: str, *names: str) -> dict[str, str]:
    """These arguments are pointers to so typed values."""
    return dict.fromkeys(names, f"*{kind}")


def numbers(*names: str) -> dict[str, str]:
    """These arguments are integers."""
    return dict.fromkeys(names, "i32")


def weight_of(num_out: int, size: int, *, fp8: bool) -> Weight:
    """A weight without values, plain or with a scale for each 64 x 128."""
    if fp8:
        return FP8.empty(num_out, size, device=META)
    return torch.empty(num_out, size, dtype=torch.bfloat16, device=META)


def weight_types(*, fp8: bool) -> dict[str, str]:
    """Of its pointers."""
    return {"weight": "*fp8e4nv" if fp8 else "*bf16", "scales": "*fp32" if fp8 else "*bf16"}


def product(
    count: int, num_out: int, size: int, *, fp8: bool = False, norm: bool = False, add: bool = False
) -> Program:
    """A product of so many rows with [num_out, size]."""
    block_m, block_n, block_k = matvec.tiles(count)
    weight = weight_of(num_out, size, fp8=fp8)
    return Program(
        matvec.matvec_program,
        pointers("bf16", "values", "out", "gain", "residual")
        | weight_types(fp8=fp8)
        | numbers("M", "values_stride")
        | {"eps": "fp32"},
        {
            "N": num_out, "NORM": norm, "ADD": add, "UPCAST": False, "BLOCK_M": block_m,
            "BLOCK_N": block_n, **layout(weight, most=block_k, whole=block_m > 1),
        },
        num_stages=4,
    )  # fmt: skip


def queries_of(count: int, *, fp8: bool = False) -> Program:
    """Queries of 20 heads, with room for carried ones, and cache rows."""
    block_m, block_n, block_k = matvec.tiles(count)
    weight = weight_of(20 * 256, 768, fp8=fp8)
    return Program(
        queries.queries_program,
        pointers("bf16", "down", "q_norm", "kv_norm", "pool", "out")
        | weight_types(fp8=fp8)
        | pointers("fp32", "turns")
        | pointers("i64", "slots")
        | numbers("M", "down_stride")
        | {"eps": "fp32"},
        {
            "N": 20 * 256, "WIDTH": 256, "HALF": 32, "SHIFT": 512, "RANK": 512, "UPCAST": False,
            "BLOCK_M": block_m, "BLOCK_N": block_n,
            **layout(weight, most=block_k, whole=block_m > 1),
            "BLOCK_RANK": 512, "BLOCK_HALF": 32,
        },
        num_stages=4,
    )  # fmt: skip


def carried(count: int, *, fp8: bool = False) -> Program:
    """Queries into the latent space."""
    weight = weight_of(20 * 448, 512, fp8=fp8)
    block_m, block_n, block_k = queries.carry_tiles(count, 192)
    told = layout(weight, most=block_n, whole=True)
    return Program(
        queries.carry_program,
        pointers("bf16", "values", "out")
        | weight_types(fp8=fp8)
        | numbers("M", "token_stride", "head_stride", "out_token_stride", "out_head_stride"),
        told
        | {
            "N": 512, "K": 192, "PER_HEAD": 448, "UPCAST": False, "BLOCK_M": block_m,
            "BLOCK_N": told["BLOCK_K"], "BLOCK_K": block_k,
        },
        num_stages=4,
    )  # fmt: skip


def values_of(count: int) -> Program:
    """Results out of the latent space."""
    block_m, block_n, block_k = matvec.tiles(count)
    weight = weight_of(20 * 448, 512, fp8=False)
    return Program(
        queries.values_program,
        pointers("bf16", "found", "out")
        | weight_types(fp8=False)
        | numbers("M", "token_stride", "head_stride"),
        {
            "N": 256, "PER_HEAD": 448, "UPCAST": False, "BLOCK_M": block_m, "BLOCK_N": block_n,
            **layout(weight, most=block_k, whole=block_m > 1),
        },
        num_stages=4,
    )  # fmt: skip


def combined(*, fp8: bool = False) -> Program:
    """Parts of a context, combined and carried out of the latent space."""
    block_v, block_k = attention.VALUES_TILE
    return Program(
        attention.combine_values_program,
        {"kv_b" if name == "weight" else name: of for name, of in weight_types(fp8=fp8).items()}
        | pointers("fp32", "partial", "weights")
        | pointers("bf16", "out")
        | numbers("HEADS"),
        {
            "PER_HEAD": 448, "VALUES": 256, "SPLITS": 64, "BLOCK_S": 64, "BLOCK_V": block_v,
            **layout(weight_of(20 * 448, 512, fp8=fp8), most=block_k),
        },
        num_warps=8,
    )  # fmt: skip


def few(form: Form | None, *, up: bool) -> Program:
    """One of the two programs for experts of few tokens, with a norm and a sum."""
    sizes = (3072, 2048) if up else (2048, 1536)
    weight = form.empty(1, *sizes, device=META) if form else torch.empty(1, *sizes, device=META)
    rows_, most = few_experts.UP_TILE if up else few_experts.DOWN_TILE
    kinds = ("bf16", "bf16") if form is None else ("u8", "bf16") if form.int4 else FP8_TYPES
    return Program(
        few_experts.few_gate_up_program if up else few_experts.few_down_program,
        pointers("bf16", "values", "gated", "gain", "residual", "out")
        | {"weight": f"*{kinds[0]}", "scales": f"*{kinds[1]}", "eps": "fp32"}
        | pointers("i64", "chosen")
        | pointers("fp32", "shares")
        | numbers("values_stride"),
        {"TOP": 4, "SLOTS": 5, "ROUTED": 64, **layout(weight, most=most)}
        | ({"I": 1536, "NORM": True, "BLOCK_I": rows_} if up else {})
        | ({} if up else {"H": 2048, "ADD": True, "BLOCK_H": rows_}),
    )


def mla(queries: int, splits: int | None = None) -> Program:
    """Attention of 20 heads to latents of 512 and keys of 64."""
    block_h, found = attention.shape_of_grid(queries, 20)
    return Program(
        attention.attend_program,
        pointers("bf16", "queries", "pool")
        | pointers("i64", "pages", "owners", "visible")
        | pointers("fp32", "partial", "weights")
        | {"scale": "fp32"}
        | numbers("pages_stride", "token_stride", "head_stride", "HEADS"),
        {
            "RANK": 512, "ROPE": 64, "SPLITS": splits or found, "PAGE": 64, "UPCAST": False,
            "BLOCK_H": block_h, "BLOCK_C": attention.BLOCK_CONTEXT, "BLOCK_R": 512, "BLOCK_P": 64,
        },
        num_warps=8,
        num_stages=2,
    )  # fmt: skip


def grouped(num_out: int, size: int, tile: int, *, gated: bool) -> Program:
    """One of the two grouped products."""
    return Program(
        experts.grouped_program,
        pointers("bf16", "values", "weight", "out")
        | pointers("i64", "order", "tile_experts")
        | numbers("num_assignments", "values_stride"),
        {
            "N": num_out, "K": size, "PER_ROW": 5 if gated else 1, "GATED": gated,
            "UPCAST": False, "BLOCK_M": tile, "BLOCK_N": 64, "BLOCK_K": 64,
        },
        num_stages=4,
    )  # fmt: skip


def scaled(form: Form, *, up: bool, alone: bool = False) -> Program:
    """One of the two grouped products for experts of few bits, or one with a matrix."""
    weight = form.empty(1, *((3072, 2048) if up else (2048, 1536)), device=META)
    most = scaled_experts.GROUPED_BYTES[form.int4]
    return Program(
        scaled_experts.grouped_scaled_program,
        pointers("u8" if form.int4 else "fp8e4nv", "weight")
        | pointers("bf16" if form.int4 else "fp32", "scales")
        | pointers("bf16", "values", "out")
        | pointers("i64", "order", "tile_experts")
        | numbers("values_stride", "num_assignments"),
        layout(weight, most=most, whole=True)
        | {
            "N": 1536 if up else 2048, "PER_ROW": 5 if up else 1, "GATED": up,
            "ALONE": alone, "UPCAST": False, "BLOCK_M": experts.LARGE_TILE,
            "BLOCK_N": scaled_experts.BLOCK_N,
        },
        num_warps=scaled_experts.WARPS,
        num_stages=scaled_experts.STAGES,
    )  # fmt: skip


SCALED_FORMS = {
    "int4": Form(int4=True, rows=1, columns=128),
    "fp8 in blocks": Form(int4=False, rows=128, columns=128),
    "fp8 by row": Form(int4=False, rows=1, columns=None),
}

PROGRAMS = {
    "rms_norm": Program(
        rows.rms_norm_program,
        pointers("bf16", "values", "weight", "out") | numbers("values_stride") | {"eps": "fp32"},
        {"N": 2048, "BLOCK": 2048},
    ),
    "rotate": Program(
        rows.rotate_program,
        pointers("bf16", "values")
        | pointers("fp32", "turns")
        | numbers("row_stride", "head_stride"),
        {"HALF": 32, "BLOCK": 32},
        num_warps=1,
    ),
    "store": Program(
        rows.store_program,
        pointers("bf16", "pool", "rows", "norm")
        | pointers("fp32", "turns")
        | pointers("i64", "slots")
        | numbers("rows_stride")
        | {"eps": "fp32"},
        {"RANK": 512, "HALF": 32, "BLOCK_RANK": 512, "BLOCK_HALF": 32},
    ),
    "choose": Program(
        router.choose_program,
        pointers("fp32", "logits", "bias", "shares")
        | pointers("i64", "chosen")
        | {"factor": "fp32"},
        {"E": 64, "TOP": 4, "NORMALIZE": True, "BLOCK": 64, "BLOCK_TOP": 4},
        num_warps=1,
    ),
    "route": Program(
        router.route_program,
        pointers("bf16", "hidden", "gain")
        | pointers("fp32", "router", "bias", "logits", "shares")
        | pointers("i32", "ended")
        | pointers("i64", "chosen")
        | numbers("hidden_stride")
        | {"eps": "fp32", "factor": "fp32"},
        {
            "H": 2048,
            "E": 64,
            "TOP": 4,
            "NORMALIZE": True,
            "BLOCK": 64,
            "BLOCK_TOP": 4,
            "BLOCK_N": router.EXPERTS_OF_ONE,
            "BLOCK_K": 2048,
        },
    ),
    "norm, q_a and kv_a, 1 row": product(1, 1344, 2048, norm=True),
    "norm, q_a and kv_a, 16 rows": product(16, 1344, 2048, norm=True),
    "norm, q_a and kv_a in fp8, 1 row": product(1, 1344, 2048, norm=True, fp8=True),
    "queries and cache, 1 row": queries_of(1),
    "queries and cache, 16 rows": queries_of(16),
    "queries and cache in fp8, 1 row": queries_of(1, fp8=True),
    "carry, 1 row": carried(1),
    "carry, 16 rows": carried(16),
    "carry in fp8, 1 row": carried(1, fp8=True),
    "values, 1 row": values_of(1),
    "values, 16 rows": values_of(16),
    "combine and values": combined(),
    "combine and values in fp8": combined(fp8=True),
    "out and sum, 1 row": product(1, 2048, 5120, add=True),
    "out and sum in fp8, 1 row": product(1, 2048, 5120, add=True, fp8=True),
    "out and sum in fp8, 16 rows": product(16, 2048, 5120, add=True, fp8=True),
    "head, 1 row": product(1, 154880, 2048),
    "head, 16 rows": product(16, 154880, 2048),
    "attend, 1 query": mla(1),
    "attend, 64 queries": mla(64),
    "combine": Program(
        attention.combine_program,
        pointers("fp32", "partial", "weights") | pointers("bf16", "out"),
        {"RANK": 512, "SPLITS": 64, "BLOCK_S": 64, "BLOCK_R": 128},
    ),
    "experts of 64: gate and up": grouped(1536, 2048, experts.SMALL_TILE, gated=True),
    "experts of 64: down": grouped(2048, 1536, experts.SMALL_TILE, gated=False),
    "experts of 8192: gate and up": grouped(1536, 2048, experts.LARGE_TILE, gated=True),
    "experts of 8192: down": grouped(2048, 1536, experts.LARGE_TILE, gated=False),
}

PROGRAMS |= {
    f"experts of few{f' in {name}' if name else ''}: {'gate and up' if up else 'down'}": few(
        form, up=up
    )
    for name, form in {"": None, **SCALED_FORMS}.items()
    for up in (True, False)
}
PROGRAMS["matrix in fp8, 8192 rows"] = scaled(FP8, up=False, alone=True)
PROGRAMS |= {
    f"experts in {name}: {'gate and up' if up else 'down'}": scaled(form, up=up)
    for name, form in SCALED_FORMS.items()
    for up in (True, False)
}


OVERLAPPING = {
    f"{title}, overlapping": replace(program, fixed=program.fixed | {"PDL": True})
    for title, program in PROGRAMS.items()
    if "PDL" in program.function.arg_names
}
"""Those that may begin before the one before them has ended."""


def cost_of(program: Program) -> Cost:
    """Compile and read what it takes."""
    names = program.function.arg_names
    fixed = {"PDL": False} | program.fixed if "PDL" in names else program.fixed
    aligned = {
        (index,): [["tt.divisibility", 16]]
        for index, name in enumerate(names)
        if program.types.get(name, "").startswith("*") or name.endswith("stride")
    }
    signature = {name: program.types.get(name, "constexpr") for name in names}
    source = ASTSource(program.function, signature, constexprs=fixed, attrs=aligned)
    compiled = triton.compile(
        source,
        target=TARGET,
        options={"num_warps": program.num_warps, "num_stages": program.num_stages},
    )
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        said = subprocess.run(
            [CUOBJDUMP, "-res-usage", file.name], capture_output=True, text=True, check=True
        ).stdout
    registers = re.search(r"REG:(\d+) STACK:(\d+)", said)
    assert registers, said
    return Cost(compiled.metadata.shared, int(registers[1]), int(registers[2]))


if __name__ == "__main__":
    for title, program in (PROGRAMS | OVERLAPPING).items():
        cost = cost_of(program)
        print(title, cost.shared, cost.registers, cost.spilled, sep="|")
