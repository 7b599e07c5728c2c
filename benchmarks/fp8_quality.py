"""What weights of few bits change, without a GPU: fp8 (e4m3, a scale for each 128 x 128) and int4.

    python benchmarks/fp8_quality.py

Matrices are rounded and widened, and the same network runs with both, in fp32: what is measured is
the rounding of weights alone. Embedding, router and norms stay as they are, as in published fp8
checkpoints. Of int4 it is the mixtures' experts alone, in the engine's groups. Rounding to bf16
instead is the control: nano is published in bf16, so there it must change nothing. Models: the one
that ships, and random ones. The last line is JSON.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from tokenizers import Tokenizer
from torch import Tensor

from glimt.engine.messages import SamplingParams
from glimt.engine.quantization import Weight, dequantize, pack, quantize, widen
from glimt.engine.runner import Runner
from glimt.engine.sequence import Scheduled, Sequence
from glimt.engine.settings import PAGE_SIZE, EngineSettings
from glimt.engine.weights import Mixture, Weights
from tests.engine.checkpoints import make_checkpoint

ROOT = Path(__file__).resolve().parents[1]
NANO = ROOT / "src/glimt/models/nano"
NUM_GREEDY = 48
CONTROL = "none, bf16"
INT4 = "int4 experts / "
"""Before the number of values that share a scale."""

PAGES = 4
TEXTS = (
    "Where does the river begin, and where does it end?",
    "Write a short poem about the first snow of the year.",
    "What is 12 + 9?",
    "列出我的订单。",
    "请介绍一下北京的春天。",
    "Translate into Chinese: the train leaves at nine.",
    "Give me a list of three animals that can swim.",
    "How many days are there in a week?",
)


def round_matrices(weights: Weights, what: str) -> None:
    """Replace matrices by what they are in fp8, int4 experts, or all of them in bf16."""
    if what.startswith(INT4):
        group = int(what.removeprefix(INT4))
        for layer in weights.layers:
            block = layer.feed_forward
            if isinstance(block, Mixture):
                for matrix in (plain(block.gate_up), plain(block.down)):
                    matrix.copy_(widen(pack(matrix, group), matrix.dtype))
        return
    for matrix in matrices(weights, head=what != "layers"):
        if what == CONTROL:
            matrix.copy_(matrix.bfloat16())
        else:
            matrix.copy_(dequantize(*quantize(matrix), matrix.dtype))


def plain(weight: Weight) -> Tensor:
    """A weight that was not loaded in few bits."""
    assert isinstance(weight, Tensor)
    return weight


def matrices(weights: Weights, *, head: bool) -> Iterator[Tensor]:
    """What an fp8 checkpoint keeps in fp8."""
    if head:
        yield weights.head
    for layer in weights.layers:
        attention = layer.attention
        for weight in (attention.down, attention.q_b, attention.kv_b, attention.out):
            yield plain(weight)
        block = layer.feed_forward
        yield from (plain(block.gate_up), plain(block.down))
        assert not isinstance(block, Mixture) or block.router.dtype is torch.float32


def load(folder: Path, fp8: str) -> Runner:
    """The model in fp32, `fp8` being "", "layers", "layers and head", `CONTROL` or int4."""
    runner = Runner.load(EngineSettings(device="cpu", dtype="float32", cache_gb=0.1), folder)
    if fp8:
        with torch.inference_mode():
            round_matrices(runner.model.weights, fp8)
        # A model prepares some products of weights once: make it anew.
        model = type(runner.model)(
            runner.model.config, runner.model.weights, type(runner.model.kernels)()
        )
        runner = Runner(model, runner.pool, runner.settings)
    return runner


def sequence(tokens: list[int]) -> Sequence:
    """These tokens, on the first pages of the pool."""
    return Sequence(
        connection=0,
        id=0,
        tokens=tokens,
        num_prompt=len(tokens),
        sampling=SamplingParams(),
        pages=list(range(PAGES)),
    )


def greedy(runner: Runner, prompt: list[int]) -> tuple[list[int], Tensor]:
    """The prompt continued, and the logits [steps, V] on the way."""
    tokens, rows, start = list(prompt), [], 0
    for _ in range(min(NUM_GREEDY, PAGES * PAGE_SIZE - len(prompt))):
        logits = runner.forward([Scheduled(sequence(list(tokens)), start, len(tokens) - start)])
        rows.append(logits[0].clone())
        start = len(tokens)
        tokens.append(int(logits[0].argmax()))
    return tokens, torch.stack(rows)


def forced(runner: Runner, tokens: list[int], num_prompt: int) -> Tensor:
    """Logits [steps, V] where the continuation is given."""
    rows, start = [], 0
    for end in range(num_prompt, len(tokens)):
        rows.append(runner.forward([Scheduled(sequence(tokens[:end]), start, end - start)])[0])
        start = end
    return torch.stack(rows)


def compare(name: str, folder: Path, prompts: list[list[int]], fp8: str) -> dict[str, object]:
    """How far the distributions are apart, and for how long greedy answers stay the same."""
    plain, rounded = load(folder, ""), load(folder, fp8)
    divergences, agreeing, same = [], [], 0
    for prompt in prompts:
        tokens, ours = greedy(plain, prompt)
        theirs = forced(rounded, tokens, len(prompt))
        logs, other = ours.log_softmax(-1), theirs.log_softmax(-1)
        divergences.append((logs.exp() * (logs - other)).sum(-1))
        agreeing.append(ours.argmax(-1) == theirs.argmax(-1))
        same += greedy(rounded, prompt)[0] == tokens
    kl = torch.cat(divergences)
    spread = float(ours.std(-1).mean())
    found: dict[str, object] = {
        "model": name,
        "fp8": fp8,
        "positions": len(kl),
        "kl_mean": float(kl.mean()),
        "kl_p99": float(kl.quantile(0.99)),
        "greedy_tokens_same": float(torch.cat(agreeing).float().mean()),
        "logit_std": spread,
        "answers_same": f"{same}/{len(prompts)}",
    }
    print(
        f"{name:12}{fp8:18}{found['positions']:>6}{found['kl_mean']:>12.2e}{found['kl_p99']:>12.2e}"
        f"{found['greedy_tokens_same']:>9.1%}{found['answers_same']:>8}"
        f"{found['logit_std']:>6.1f}"
    )
    return found


def main() -> int:
    """Print the table."""
    head = f"{'model':12}{'what is rounded':18}{'rows':>6}{'KL mean':>12}{'KL p99':>12}"
    print(f"{head}{'tokens':>9}{'answers':>8}{'std':>6}")
    table: list[dict[str, object]] = []
    tokenizer = Tokenizer.from_file(str(NANO / "tokenizer.json"))
    chats = [
        tokenizer.encode(f"[gMASK]<sop><|user|>{text}<|assistant|></think>").ids for text in TEXTS
    ]
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 160, (len(TEXTS), 20), generator=generator).tolist()
    with TemporaryDirectory() as place:
        shapes = {
            "random 48": {},
            "random 256": {"hidden_size": 256, "kv_lora_rank": 128, "moe_intermediate_size": 128},
        }
        for fp8 in (CONTROL, "layers", "layers and head", f"{INT4}32", f"{INT4}128"):
            table.append(compare("nano", NANO, chats, fp8))
            for seed, (name, shape) in enumerate(shapes.items()):
                if fp8.startswith(INT4) and not shape:
                    continue  # no group divides it
                folder = Path(place) / name.replace(" ", "-")
                folder.mkdir(exist_ok=True)
                make_checkpoint(folder, seed=seed, **shape)
                table.append(compare(name, folder, noise, fp8))
    print(json.dumps(table))
    return 0


if __name__ == "__main__":
    sys.exit(main())
