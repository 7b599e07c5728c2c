"""The engine against transformers' `Glm4MoeLiteForCausalLM`, in fp32 with the same eps.

transformers computes whole sequences, without a cache; Glimt computes the same ones in every way
that a scheduler may cut them. Pages are scattered over the pool, which starts out full of
nonsense, so that a wrong page, row or mask changes the logits.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from glimt.engine.messages import SamplingParams
from glimt.engine.runner import Runner
from glimt.engine.sequence import Scheduled, Sequence
from glimt.engine.settings import PAGE_SIZE, EngineSettings
from tests.engine.checkpoints import make_checkpoint

TOLERANCE = 1e-4
TRANSFORMERS_LATENT_EPS = 1e-6
NANO = Path(__file__).parents[2] / "src" / "glimt" / "models" / "nano"

SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {},
    "five heads, two shared experts, no prediction layer": {
        "num_attention_heads": 5,
        "hidden_size": 60,
        "num_hidden_layers": 4,
        "first_k_dense_replace": 2,
        "q_lora_rank": 24,
        "kv_lora_rank": 32,
        "qk_nope_head_dim": 24,
        "qk_rope_head_dim": 16,
        "v_head_dim": 40,
        "n_routed_experts": 6,
        "num_experts_per_tok": 3,
        "n_shared_experts": 2,
        "num_nextn_predict_layers": 0,
    },
    "twenty heads, sixteen experts": {
        "num_attention_heads": 20,
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "q_lora_rank": 48,
        "kv_lora_rank": 64,
        "qk_nope_head_dim": 12,
        "qk_rope_head_dim": 4,
        "v_head_dim": 16,
        "n_routed_experts": 16,
        "num_experts_per_tok": 4,
        "rope_theta": 1e6,
        "rms_norm_eps": 1e-6,
    },
    "expert groups, plain weights, tied head": {
        "n_routed_experts": 16,
        "num_experts_per_tok": 4,
        "n_group": 4,
        "topk_group": 2,
        "norm_topk_prob": False,
        "routed_scaling_factor": 1.0,
        "tie_word_embeddings": True,
        "num_hidden_layers": 2,
    },
    "one dense head, one expert": {
        "num_attention_heads": 1,
        "first_k_dense_replace": 2,
        "n_routed_experts": 2,
        "num_experts_per_tok": 1,
        "qk_nope_head_dim": 8,
        "v_head_dim": 8,
    },
}


@dataclass
class Twin:
    """One checkpoint in both implementations, with pages to hand out."""

    runner: Runner
    oracle: Any
    free_pages: list[int] = field(default_factory=list)

    def sequence(self, length: int, seed: int) -> Sequence:
        """A random prompt that owns enough scattered pages for it and 30 tokens more."""
        generator = random.Random(seed)
        tokens = [generator.randrange(self.runner.vocab_size) for _ in range(length)]
        num_pages = -(-(length + 30) // PAGE_SIZE)
        pages = [self.free_pages.pop() for _ in range(num_pages)]
        return Sequence(
            connection=0,
            id=seed,
            tokens=tokens,
            num_prompt=length,
            sampling=SamplingParams(),
            pages=pages,
        )

    def expected(self, tokens: list[int]) -> Tensor:
        """What transformers says after each token."""
        with torch.no_grad():
            return self.oracle(torch.tensor([tokens])).logits[0]

    def run(self, *entries: Scheduled) -> Tensor:
        """One step; the logits of the entries that draw."""
        logits = self.runner.forward(list(entries))
        for entry in entries:
            entry.sequence.num_computed = entry.start + entry.count
        return logits

    def prefill(self, sequence: Sequence) -> Tensor:
        """All that is not computed yet, in one step."""
        start = sequence.num_computed
        return self.run(Scheduled(sequence, start, len(sequence.tokens) - start))

    def all_logits(self, sequence: Sequence) -> Tensor:
        """Glimt's logits after each token, from one prefill."""
        with torch.inference_mode():
            entry = Scheduled(sequence, 0, len(sequence.tokens))
            model, pool = self.runner.model, self.runner.pool
            return model.logits(model.forward(self.runner.make_batch([entry]), pool))


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Matrices this small only lose by being shared between threads."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


@cache
def _twin(folder: Path) -> Twin:
    from transformers import Glm4MoeLiteForCausalLM  # noqa: PLC0415 (slow to import)
    from transformers.utils import logging  # noqa: PLC0415

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    settings = EngineSettings(
        model=str(folder),
        device="cpu",
        dtype="float32",
        latent_norm_eps=TRANSFORMERS_LATENT_EPS,
        cache_gb=0.02,
    )
    runner = Runner.load(settings, folder)
    oracle = Glm4MoeLiteForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    )
    return Twin(runner, oracle.eval())


@pytest.fixture(scope="module", params=[*SHAPES, "nano"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each shape, and the model that ships."""
    if request.param == "nano":
        if not (NANO / "model.safetensors").is_file():
            pytest.skip("src/glimt/models/nano has no weights")
        return NANO
    folder = tmp_path_factory.mktemp("checkpoint")
    return make_checkpoint(folder, seed=list(SHAPES).index(request.param), **SHAPES[request.param])


@pytest.fixture
def twin(checkpoint: Path) -> Iterator[Twin]:
    """Both implementations, a pool of nonsense and all its pages in random order."""
    twin = _twin(checkpoint)
    torch.manual_seed(0)
    with torch.inference_mode():
        twin.runner.pool.normal_()
    twin.free_pages = random.Random(0).sample(range(twin.runner.num_pages), twin.runner.num_pages)
    threshold = twin.runner.expansion_threshold
    yield twin
    twin.runner.expansion_threshold = threshold


def close(ours: Tensor, theirs: Tensor) -> None:
    """Logits agree within the tolerance and choose the same tokens."""
    torch.testing.assert_close(ours, theirs, atol=TOLERANCE, rtol=0)
    assert ours.argmax(-1).tolist() == theirs.argmax(-1).tolist()


@pytest.mark.parametrize("threshold", [2, 1 << 30], ids=["expanded", "latent"])
def test_prefill(twin: Twin, threshold: int) -> None:
    """Both forms of attention give transformers' logits after every token of a prompt."""
    twin.runner.expansion_threshold = threshold
    sequence = twin.sequence(150, seed=1)
    close(twin.all_logits(sequence), twin.expected(sequence.tokens))


def test_decode(twin: Twin) -> None:
    """Token by token after a prompt, logits and greedy choices are those of transformers."""
    sequence = twin.sequence(60, seed=2)
    rows: list[Tensor] = []
    for _ in range(12):
        rows.append(twin.prefill(sequence)[0])
        sequence.tokens.append(int(rows[-1].argmax()))
    expected = twin.expected(sequence.tokens[:-1])[-12:]
    close(torch.stack(rows), expected)


@pytest.mark.parametrize("size", [1, 7, PAGE_SIZE, 100])
def test_chunked_prefill(twin: Twin, size: int) -> None:
    """A prompt computed in chunks ends in the same logits; chunks before the last yield none."""
    sequence = twin.sequence(140 if size > 1 else 70, seed=3)
    length = len(sequence.tokens)
    for start in range(0, length, size):
        logits = twin.run(Scheduled(sequence, start, min(size, length - start)))
        assert len(logits) == (start + size >= length)
    close(logits, twin.expected(sequence.tokens)[-1:])


@pytest.mark.parametrize("threshold", [2, 1 << 30], ids=["expanded", "latent"])
def test_prefix_hit(twin: Twin, threshold: int) -> None:
    """A prompt that begins with another's full pages needs only the rest."""
    twin.runner.expansion_threshold = threshold
    first = twin.sequence(150, seed=4)
    twin.prefill(first)
    second = twin.sequence(160, seed=5)
    shared = 2 * PAGE_SIZE
    second.tokens[:shared] = first.tokens[:shared]
    second.pages[:2] = first.pages[:2]
    second.num_computed = shared
    close(twin.prefill(second), twin.expected(second.tokens)[-1:])


@pytest.mark.parametrize("threshold", [2, 30, 1 << 30], ids=["expanded", "both", "latent"])
def test_mixed_batch(twin: Twin, threshold: int) -> None:
    """Decodes, chunks, a prefix hit and an unfinished prompt in one step disturb nobody."""
    twin.runner.expansion_threshold = threshold
    decoding = [twin.sequence(length, seed=10 + length) for length in (3, 64, 129)]
    for sequence in decoding:
        twin.prefill(sequence)
        sequence.tokens.append(sequence.id % twin.runner.vocab_size)
    started, fresh, unfinished, hit = (
        twin.sequence(length, seed=20 + length) for length in (90, 45, 100, 80)
    )
    twin.run(Scheduled(started, 0, 70))
    hit.tokens[:PAGE_SIZE] = decoding[2].tokens[:PAGE_SIZE]
    hit.pages[0] = decoding[2].pages[0]
    entries = [
        Scheduled(fresh, 0, 45),
        *(Scheduled(s, len(s.tokens) - 1, 1) for s in decoding[:2]),
        Scheduled(unfinished, 0, 40),
        Scheduled(hit, PAGE_SIZE, 16),
        Scheduled(decoding[2], 129, 1),
        Scheduled(started, 70, 20),
    ]
    logits = twin.run(*entries)
    expected = [twin.expected(entry.sequence.tokens)[-1] for entry in entries if entry.draws]
    close(logits, torch.stack(expected))
    twin.prefill(unfinished)
    close(twin.run(Scheduled(unfinished, 99, 1)), twin.expected(unfinished.tokens)[-1:])


def test_batched_decode(twin: Twin) -> None:
    """Many sequences decoded together choose the tokens that transformers chooses for each."""
    sequences = [twin.sequence(length, seed=100 + length) for length in range(1, 90, 5)]
    logits = twin.run(*(Scheduled(s, 0, len(s.tokens)) for s in sequences))
    for _ in range(4):
        for sequence, token in zip(sequences, logits.argmax(-1).tolist(), strict=True):
            sequence.tokens.append(token)
        logits = twin.run(*(Scheduled(s, len(s.tokens) - 1, 1) for s in sequences))
    close(logits, torch.stack([twin.expected(s.tokens)[-1] for s in sequences]))


def test_prediction_layer(twin: Twin) -> None:
    """The prediction layer computes what transformers' `MtpLayer` computes, in chunks as in one."""
    if twin.runner.model.weights.prediction is None:
        pytest.skip("this checkpoint has no prediction layer")
    sequence = twin.sequence(100, seed=6)
    entry = Scheduled(sequence, 0, 99)
    model, pool = twin.runner.model, twin.runner.pool
    with torch.inference_mode():
        states = model.forward(twin.runner.make_batch([entry]), pool)
        guesses = []
        for start, count in ((0, 40), (40, 58), (98, 1)):
            ahead = Sequence(
                connection=0,
                id=0,
                tokens=sequence.tokens[1:],
                num_prompt=99,
                sampling=SamplingParams(),
                pages=sequence.pages,
            )
            batch = twin.runner.make_batch([Scheduled(ahead, start, count)])
            guesses.append(model.predict(states[start : start + count], batch, pool))
        logits = model.prediction_logits(torch.cat(guesses))
    close(logits, _mtp_logits(twin, sequence.tokens))


def _mtp_logits(twin: Twin, tokens: list[int]) -> Tensor:
    """What transformers' prediction layer says after each token but the last."""
    from transformers.modeling_layers import MtpLayer  # noqa: PLC0415 (slow to import)
    from transformers.models.glm4_moe_lite.modeling_glm4_moe_lite import (  # noqa: PLC0415
        Glm4MoeLiteDecoderLayer,
        Glm4MoeLiteRMSNorm,
    )

    main, config = twin.oracle.model, twin.oracle.config
    layer = MtpLayer(
        config, Glm4MoeLiteDecoderLayer, Glm4MoeLiteRMSNorm, config.num_hidden_layers - 1
    )
    folder = Path(twin.runner.settings.model)
    prefix = f"model.layers.{config.num_hidden_layers}."
    tensors = {
        name.removeprefix(prefix): tensor.float()
        for name, tensor in load_file(folder / "model.safetensors").items()
        if name.startswith(prefix)
    }
    renamed = {"shared_head.norm.weight": "post_norm.weight"}
    state: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name.startswith(("embed_tokens", "shared_head.head", "mlp.experts.")):
            continue
        own = name.startswith(("enorm", "hnorm", "eh_proj", "shared_head.norm"))
        state[renamed.get(name, name if own else f"mtp_block.{name}")] = tensor
    experts = [
        {kind: tensors[f"mlp.experts.{i}.{kind}_proj.weight"] for kind in ("gate", "up", "down")}
        for i in range(config.n_routed_experts)
    ]
    block = "mtp_block.mlp.experts."
    state[f"{block}gate_up_proj"] = torch.stack(
        [torch.cat((one["gate"], one["up"])) for one in experts]
    )
    state[f"{block}down_proj"] = torch.stack([one["down"] for one in experts])
    layer.load_state_dict(state)
    with torch.no_grad():
        ids = torch.tensor([tokens])
        hidden = main(ids).last_hidden_state[:, :-1]
        positions = torch.arange(len(tokens) - 1)[None]
        mask = torch.full((len(tokens) - 1,) * 2, -torch.inf).triu(1)[None, None]
        states = layer.eval()(
            inputs_embeds=main.embed_tokens(ids[:, 1:]),
            previous_hidden_state=hidden,
            position_embeddings=main.rotary_emb(hidden, positions),
            attention_mask=mask,
            position_ids=positions,
            past_key_values=None,
        )
        return twin.oracle.lm_head(states)[0]
