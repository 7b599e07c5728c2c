"""Every Triton program compiled for sm_90 at the sizes of GLM-4.7-Flash, without a GPU.

`python -m tests.engine.kernels.gpu.compiled` prints a line for each: its name, bytes of shared
memory a block, registers a thread, bytes spilled a thread, with `|` between them.
What a compiled program takes of a multiprocessor is what decides whether it can run and how many
of it run side by side: shared memory, registers, and spills, which are memory traffic.
"""

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from glimt.engine.kernels.gpu import attention, experts, matvec, rows, scaled_experts
from glimt.engine.quantization import Form

TARGET = GPUTarget("cuda", 90, 32)
CUOBJDUMP = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
MOE = {"I": 1536, "H": 2048}


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


def product(rows_: int, num_out: int, size: int, *, fp8: bool = False) -> Program:
    """A product of so many rows with [num_out, size]."""
    block_m, block_n, block_k = matvec.tiles(rows_)
    return Program(
        matvec.matvec_program,
        pointers("bf16", "values", "out")
        | pointers("fp8e4nv" if fp8 else "bf16", "weight")
        | pointers("fp32" if fp8 else "bf16", "scales")
        | numbers("M", "values_stride"),
        {
            "N": num_out, "K": size, "SCALED": fp8, "UPCAST": False,
            "BLOCK_M": block_m, "BLOCK_N": block_n, "BLOCK_K": block_k,
        },
        num_stages=4,
    )  # fmt: skip


def mla(queries: int, splits: int | None = None) -> Program:
    """Attention of 20 heads to latents of 512 and keys of 64."""
    block_h, found = attention.shape_of_grid(queries, 20)
    return Program(
        attention.attend_program,
        pointers("bf16", "queries", "pool")
        | pointers("i64", "pages", "owners", "visible")
        | pointers("fp32", "partial", "weights")
        | {"scale": "fp32"}
        | numbers("pages_stride", "HEADS"),
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


def scaled(form: Form, kind: str) -> Program:
    """One of the programs for experts of few bits: "few up", "few down", "up" or "down"."""
    gated = kind.endswith("up")
    sizes = (3072, 2048) if gated else (2048, 1536)
    few = kind.startswith("few")
    weight = form.empty(1, *sizes, device=torch.device("cpu"))
    fixed = scaled_experts.layout(
        weight, most=128 if few else scaled_experts.GROUPED_BYTES[form.int4]
    )
    types = (
        pointers("u8" if form.int4 else "fp8e4nv", "weight")
        | pointers("bf16" if form.int4 else "fp32", "scales")
        | pointers("bf16", "values", "gated", "out")
        | pointers("i64", "chosen", "order", "tile_experts")
        | pointers("fp32", "shares")
        | numbers("values_stride", "num_assignments")
    )
    if few:
        fixed |= {"I": 1536, "TOP": 4, "SLOTS": 5, "ROUTED": 64}
        fixed |= {"BLOCK_I": 16} if gated else {"BLOCK_H": 8, "H": 2048}
        function = "few_gate_up_scaled_program" if gated else "few_down_scaled_program"
        return Program(getattr(scaled_experts, function), types, fixed, num_stages=4)
    return Program(
        scaled_experts.grouped_scaled_program,
        types,
        fixed
        | {
            "N": 1536 if gated else 2048, "PER_ROW": 5 if gated else 1, "GATED": gated,
            "UPCAST": False, "BLOCK_M": experts.LARGE_TILE, "BLOCK_N": scaled_experts.BLOCK_N,
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
    "add_rms_norm": Program(
        rows.rms_norm_program,
        pointers("bf16", "values", "residual", "weight", "out", "total_out")
        | numbers("values_stride", "residual_stride")
        | {"eps": "fp32"},
        {"N": 2048, "ADD": True, "BLOCK": 2048},
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
        rows.choose_program,
        pointers("fp32", "logits", "bias", "shares")
        | pointers("i64", "chosen")
        | {"factor": "fp32"},
        {"E": 64, "TOP": 4, "NORMALIZE": True, "BLOCK": 64, "BLOCK_TOP": 4},
        num_warps=1,
    ),
    "q_a and kv_a, 1 row": product(1, 1344, 2048),
    "out, 1 row": product(1, 2048, 5120),
    "head, 1 row": product(1, 154880, 2048),
    "head, 16 rows": product(16, 154880, 2048),
    "out in fp8, 1 row": product(1, 2048, 5120, fp8=True),
    "out in fp8, 16 rows": product(16, 2048, 5120, fp8=True),
    "attend, 1 query": mla(1),
    "attend, 64 queries": mla(64),
    "combine": Program(
        attention.combine_program,
        pointers("fp32", "partial", "weights") | pointers("bf16", "out"),
        {"RANK": 512, "SPLITS": 64, "BLOCK_S": 64, "BLOCK_R": 128},
    ),
    "experts of few: gate and up": Program(
        experts.few_gate_up_program,
        pointers("bf16", "values", "weight", "gated")
        | pointers("i64", "chosen")
        | numbers("values_stride"),
        MOE | {"TOP": 4, "SLOTS": 5, "ROUTED": 64, "BLOCK_I": 16, "BLOCK_K": 128},
        num_stages=4,
    ),
    "experts of few: down": Program(
        experts.few_down_program,
        pointers("bf16", "gated", "weight", "out")
        | pointers("i64", "chosen")
        | pointers("fp32", "shares"),
        MOE | {"TOP": 4, "SLOTS": 5, "ROUTED": 64, "BLOCK_H": 8, "BLOCK_K": 256},
        num_stages=4,
    ),
    "experts of 64: gate and up": grouped(1536, 2048, experts.SMALL_TILE, gated=True),
    "experts of 64: down": grouped(2048, 1536, experts.SMALL_TILE, gated=False),
    "experts of 8192: gate and up": grouped(1536, 2048, experts.LARGE_TILE, gated=True),
    "experts of 8192: down": grouped(2048, 1536, experts.LARGE_TILE, gated=False),
}

PROGRAMS |= {
    f"experts in {name}: {kind}": scaled(form, kind)
    for name, form in SCALED_FORMS.items()
    for kind in ("few up", "few down", "up", "down")
}


def cost_of(program: Program) -> Cost:
    """Compile and read what it takes."""
    names = program.function.arg_names
    aligned = {
        (index,): [["tt.divisibility", 16]]
        for index, name in enumerate(names)
        if program.types.get(name, "").startswith("*") or name.endswith("stride")
    }
    signature = {name: program.types.get(name, "constexpr") for name in names}
    source = ASTSource(program.function, signature, constexprs=program.fixed, attrs=aligned)
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
    for title, program in PROGRAMS.items():
        cost = cost_of(program)
        print(title, cost.shared, cost.registers, cost.spilled, sep="|")
